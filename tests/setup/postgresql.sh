#!/usr/bin/env bash
# Prints the directory of a PostgreSQL server's programs (initdb, postgres), which the store's
# tests start for themselves. Installs the server where that can be done without asking
# (root, with apt); says what to install otherwise. Only the directory goes to standard output.
set -euo pipefail

find_server() {
    local directory program
    if program=$(command -v initdb); then
        directory=$(dirname "$program")
        [ -x "$directory/postgres" ] && printf '%s\n' "$directory" && return
    fi
    # The newest version last, by number: 9 before 17.
    directory=$(ls -d /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin 2>/dev/null | sort -V | tail -n 1)
    [ -n "$directory" ] && [ -x "$directory/initdb" ] && [ -x "$directory/postgres" ] && printf '%s\n' "$directory"
}

find_server && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    printf 'PostgreSQL server not found; installing it with apt-get\n' >&2
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql; } >&2
    find_server && exit 0
fi

cat >&2 <<'MESSAGE'
error: the tests run the store over a real PostgreSQL server, and none was found
  on PATH or in /usr/lib/postgresql.
  Debian or Ubuntu: apt-get install postgresql
  Fedora:           dnf install postgresql-server
  macOS:            brew install postgresql
MESSAGE
exit 1
