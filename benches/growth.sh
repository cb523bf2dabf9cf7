#!/usr/bin/env bash
# How time and memory grow with the number of files, the length of lines, and what waits in the queue.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v python3 >/dev/null || { echo "error: this script needs python3" >&2; exit 1; }
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here" exec python3 "$here/growth.py" "$@"
