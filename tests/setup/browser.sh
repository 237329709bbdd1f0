#!/usr/bin/env bash
# Prints the path of a Chromium, which the tests of signing in drive. Installs one where that can be done
# without asking (root, with apt); says what to install otherwise. Only the path goes to standard output.
set -euo pipefail

find_browser() {
    local candidate
    for candidate in ${BROWSER_BIN:-} chromium chromium-browser google-chrome-stable google-chrome \
        '/Applications/Chromium.app/Contents/MacOS/Chromium' \
        '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'; do
        if command -v "$candidate" >/dev/null 2>&1 && "$candidate" --version >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

find_browser && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    printf 'Chromium not found; installing it with apt-get\n' >&2
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium; } >&2
    find_browser && exit 0
fi

cat >&2 <<'MESSAGE'
error: the tests of signing in drive a real Chromium, and none was found on PATH.
  Debian:  apt-get install chromium
  Fedora:  dnf install chromium
  macOS:   brew install --cask chromium
  or set BROWSER_BIN to one
MESSAGE
exit 1
