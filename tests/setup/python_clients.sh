#!/usr/bin/env bash
# Makes one Python environment with a real MLflow, and prints what it does.
#
#   python_clients.sh VERSION DIRECTORY      e.g. python_clients.sh 3.17 ~/.cache/tracegate/clients-3.17
#
# Running it again is cheap: the hash of the requirements is kept in the environment, and
# nothing happens while it agrees. A half-made environment has no hash and is made anew.
set -euo pipefail

version=${1:?usage: python_clients.sh VERSION DIRECTORY}
directory=${2:?usage: python_clients.sh VERSION DIRECTORY}
requirements="$(cd "$(dirname "$0")" && pwd)/requirements-$version.txt"

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

[ -f "$requirements" ] || fail "no requirements file for MLflow $version"

# MLflow 3.17 needs 3.10; PYTHON names another interpreter.
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.10; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}
python=$(find_python) || fail "Python 3.10 or later is needed to run the MLflow client and server, and none was found on PATH.
  Debian or Ubuntu: apt-get install python3 python3-venv
  macOS:            brew install python
  or set PYTHON to an interpreter"
"$python" -c 'import venv, ensurepip' 2>/dev/null || fail "$python has no venv module.
  Debian or Ubuntu: apt-get install python3-venv"

wanted=$({ cat "$requirements"; "$python" --version; } | "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
marker="$directory/.requirements.sha256"

if [ -f "$marker" ] && [ "$(cat "$marker")" = "$wanted" ] && [ -x "$directory/bin/mlflow" ]; then
    printf 'MLflow %s client environment is ready: %s\n' "$version" "$directory"
    exit 0
fi

printf 'Making the MLflow %s client environment in %s (a few minutes, once)\n' "$version" "$directory"
mkdir -p "$(dirname "$directory")"
"$python" -m venv --clear "$directory"
"$directory/bin/python" -m pip install --disable-pip-version-check --requirement "$requirements"
MLFLOW_DISABLE_TELEMETRY=true "$directory/bin/python" -W ignore -c 'import mlflow; print("imported mlflow", mlflow.__version__)'
printf '%s\n' "$wanted" >"$marker"
