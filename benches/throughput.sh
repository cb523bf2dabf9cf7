#!/usr/bin/env bash
# How fast `tailspool` takes a backlog and hands it out, beside `cat`, `cp` and others on the same machine in the same run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v python3 >/dev/null || { echo "error: this script needs python3" >&2; exit 1; }
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here" exec python3 "$here/throughput.py" "$@"
