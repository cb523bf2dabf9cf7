#!/usr/bin/env bash
# What happens where there is very much of something: nothing lost, nothing doubled, time and memory.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v python3 >/dev/null || { echo "error: this script needs python3" >&2; exit 1; }
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here" exec python3 "$here/limits.py" "$@"
