#!/usr/bin/env bash
# Makes the Python environment of the open-source client of Unity Catalog, and prints what it does.
#
#   catalog_client.sh DIRECTORY      e.g. catalog_client.sh ~/.cache/tracegate/clients-catalog
set -euo pipefail

directory=${1:?usage: catalog_client.sh DIRECTORY}
requirements="$(cd "$(dirname "$0")" && pwd)/requirements-catalog.txt"

command -v python3 >/dev/null || {
    echo 'error: Python 3.10 or later is needed; Debian or Ubuntu: apt-get install python3 python3-venv' >&2
    exit 1
}
wanted=$({ cat "$requirements"; python3 --version; } | python3 -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
marker="$directory/.requirements.sha256"
if [ -f "$marker" ] && [ "$(cat "$marker")" = "$wanted" ]; then
    printf 'The environment of the catalog client is ready: %s\n' "$directory"
    exit 0
fi

printf 'Making the environment of the catalog client in %s (a minute, once)\n' "$directory"
mkdir -p "$(dirname "$directory")"
python3 -m venv --clear "$directory"
"$directory/bin/python" -m pip install --disable-pip-version-check --requirement "$requirements"
printf '%s\n' "$wanted" >"$marker"
