#!/usr/bin/env bash
# Lays out the files of the image, in a Debian that has the program's libraries.
#
#   assemble.sh PROGRAM DIRECTORY      DIRECTORY must not be there yet
set -euo pipefail

program=${1:?usage: assemble.sh PROGRAM DIRECTORY}
image=${2:?usage: assemble.sh PROGRAM DIRECTORY}
here=$(cd "$(dirname "$0")" && pwd)
user=65532

mkdir "$image"
install -D -m 0755 "$program" "$image/usr/local/bin/tracegate"

# The libraries that the program names and the loader, each at the path where it is looked for.
ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
    install -D -m 0755 "$(readlink -f "$library")" "$image$library"
done

# By whom an issuer, a PostgreSQL or an MLflow server is vouched for.
install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$image/etc/ssl/certs/ca-certificates.crt"

mkdir -p "$image/etc"
printf 'tracegate:x:%s:%s::/var/lib/tracegate:/nonexistent\n' "$user" "$user" >"$image/etc/passwd"
printf 'tracegate:x:%s:\n' "$user" >"$image/etc/group"
# Names from /etc/hosts first, which the container's runtime writes.
printf 'hosts: files dns\n' >"$image/etc/nsswitch.conf"

install -D -m 0644 "$here/tracegate.toml" "$image/etc/tracegate/tracegate.toml"
install -d -m 0700 -o "$user" -g "$user" "$image/var/lib/tracegate"
# SQLite sorts there.
install -d -m 1777 "$image/tmp"
