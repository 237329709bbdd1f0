#!/usr/bin/env bash
# Makes a Python environment from one of the requirements beside this file, and prints what it does.
#
#   python_environment.sh NAME DIRECTORY      e.g. python_environment.sh catalog ~/.cache/tracegate/clients-catalog
set -euo pipefail

name=${1:?usage: python_environment.sh NAME DIRECTORY}
directory=${2:?usage: python_environment.sh NAME DIRECTORY}
requirements="$(cd "$(dirname "$0")" && pwd)/requirements-$name.txt"

command -v python3 >/dev/null || {
    echo 'error: Python 3.10 or later is needed; Debian or Ubuntu: apt-get install python3 python3-venv' >&2
    exit 1
}
wanted=$({ cat "$requirements"; python3 --version; } | python3 -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
marker="$directory/.requirements.sha256"
if [ -f "$marker" ] && [ "$(cat "$marker")" = "$wanted" ]; then
    printf 'The Python environment %s is ready: %s\n' "$name" "$directory"
    exit 0
fi

printf 'Making the Python environment %s in %s (a minute, once)\n' "$name" "$directory"
mkdir -p "$(dirname "$directory")"
python3 -m venv --clear "$directory"
"$directory/bin/python" -m pip install --disable-pip-version-check --requirement "$requirements"
printf '%s\n' "$wanted" >"$marker"
