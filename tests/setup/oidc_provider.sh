#!/usr/bin/env bash
# Prints the directory where a real OpenID Connect provider is installed, to be started by the tests:
# `node DIRECTORY/server.js`. Running it again is cheap: the hash of what is wanted is kept beside it.
set -euo pipefail

source="$(cd "$(dirname "$0")" && pwd)/oidc_provider"
directory="${XDG_CACHE_HOME:-$HOME/.cache}/tracegate/oidc-provider"

if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1 ||
    ! node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 18 ? 1 : 0)'; then
    cat >&2 <<'MESSAGE'
error: the tests of signing in run a certified OpenID Connect provider, which needs Node.js 18 or later with npm.
  Debian or Ubuntu: apt-get install nodejs npm
  Fedora:           dnf install nodejs
  macOS:            brew install node
MESSAGE
    exit 1
fi

wanted=$({ cat "$source/package-lock.json"; node --version; } | cksum)
marker="$directory/.wanted"
mkdir -p "$directory"
if ! [ -f "$marker" ] || [ "$(cat "$marker")" != "$wanted" ] || ! [ -d "$directory/node_modules" ]; then
    printf 'Installing the OpenID Connect provider in %s (once)\n' "$directory" >&2
    rm -f "$marker"
    cp "$source/package.json" "$source/package-lock.json" "$directory/"
    npm ci --prefix "$directory" --ignore-scripts --no-audit --no-fund --omit=dev >&2
    printf '%s\n' "$wanted" >"$marker"
fi
# The server itself is ours and may change without anything to install.
cp "$source/server.js" "$directory/"
printf '%s\n' "$directory"
