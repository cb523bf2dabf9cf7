#!/usr/bin/env bash
# How soon the notify source captures a line, what it costs while nothing happens, and whether it keeps up with bursts.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v python3 >/dev/null || { echo "error: this script needs python3" >&2; exit 1; }
PYTHONDONTWRITEBYTECODE=1 exec python3 "$here/notify.py" "$@"
