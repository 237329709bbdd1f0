#!/usr/bin/env bash
# Finds, or installs, what the HTTP benchmark compares and measures with: wrk and nginx
# (with auth_request, as Debian's nginx has it).
set -euo pipefail
PATH="$PATH:/usr/sbin:/usr/local/sbin"

missing() {
    local program
    for program in wrk nginx; do
        command -v "$program" >/dev/null 2>&1 || printf '%s ' "$program"
    done
}

absent=$(missing)
if [ -n "$absent" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    printf 'not found: %s; installing with apt-get\n' "$absent"
    apt-get update
    # Installing must not start a web server on port 80 of whoever runs a benchmark.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $absent
    absent=$(missing)
fi

if [ -n "$absent" ]; then
    cat >&2 <<MESSAGE
error: the benchmark needs: $absent
  Debian or Ubuntu: apt-get install wrk nginx
  macOS:            brew install wrk nginx
MESSAGE
    exit 1
fi
if ! nginx -V 2>&1 | grep -q http_auth_request_module; then
    printf 'error: this nginx was built without http_auth_request_module, which the benchmark compares with\n' >&2
    exit 1
fi
printf 'wrk and nginx are ready\n'
