#!/usr/bin/env bash
# Tests manifests/monitoring with Prometheus, on a local cluster of its own, which goes
# afterwards. Other arguments than these are go test's.
#
#   hack/monitoring.sh [--picture FILE] [flags of go test...]
#
# --picture has Rays come and go for two minutes, and draws the dashboard's panels, as SVG.
#
# Prometheus and promtool are Debian's, once they are unpacked below bin, or those of $PATH. If
# neither is there, the package is unpacked, not installed; no root is needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ours=()
if [[ ${1:-} == --picture ]]; then
  ours=(-picture "$(realpath "$2")" -load-time 2m)
  shift 2
fi

# get_prometheus sets prometheus to the directory that has both programs.
get_prometheus() {
  local unpacked=$PWD/bin/prometheus
  prometheus=${unpacked}/usr/bin
  if [[ -x ${prometheus}/prometheus && -x ${prometheus}/promtool ]]; then return; fi
  if command -v promtool >/dev/null && prometheus=$(dirname "$(command -v prometheus)") \
    && [[ -x ${prometheus}/promtool ]]; then return; fi
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    echo "put prometheus and promtool, 2.42 or newer, into \$PATH: only with apt-get and dpkg can this script get them itself" >&2
    exit 1
  fi
  echo "getting Prometheus from Debian's packages"
  local apt=${unpacked}.apt
  mkdir -p "${apt}/lists/partial" "${apt}/cache/archives/partial"
  # Lists of its own: the machine's may be missing, and only root can write them.
  local options=(-qq -o "Dir::State::lists=${apt}/lists" -o "Dir::Cache=${apt}/cache" -o APT::Sandbox::User="$(id -un)")
  apt-get "${options[@]}" update
  (cd "${apt}" && apt-get "${options[@]}" download prometheus)
  rm -rf "${unpacked}"
  dpkg --extract "${apt}"/prometheus_*.deb "${unpacked}"
  rm -rf "${apt}"
  prometheus=${unpacked}/usr/bin
}

get_prometheus
"${prometheus}/prometheus" --version 2>&1 | head -1

name=monitoring
dir=$PWD/.cluster/${name}
trap 'go run -C hack/cluster . down --name "${name}" --dir "${dir}"' EXIT
go run -C hack/cluster . up --name "${name}" --dir "${dir}"
go test -trimpath ./test/monitoring -count 1 -timeout 10m "$@" \
  -args -root "$PWD" -kubeconfig "${dir}/kubeconfig" -prometheus "${prometheus}" "${ours[@]}"
