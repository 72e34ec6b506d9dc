#!/usr/bin/env bash

# Copyright 2026 The ray-operator Authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

# Tests manifests/monitoring with Prometheus on a temporary local cluster.
#
#   hack/monitoring.sh [--picture FILE] [go test flags...]
#
# --picture generates load for two minutes and renders the panels of the dashboard as SVG.
#
# Prometheus and promtool are taken from bin/prometheus or $PATH. If neither has them, the Debian
# package is downloaded and unpacked into bin/prometheus. This does not require root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

picture_args=()
if [[ ${1:-} == --picture ]]; then
  picture_args=(-picture "$(realpath "$2")" -load-time 2m)
  shift 2
fi

# get_prometheus sets prometheus to the directory that contains both programs.
get_prometheus() {
  local unpacked=$PWD/bin/prometheus
  prometheus=${unpacked}/usr/bin
  if [[ -x ${prometheus}/prometheus && -x ${prometheus}/promtool ]]; then return; fi
  if command -v promtool >/dev/null && prometheus=$(dirname "$(command -v prometheus)") \
    && [[ -x ${prometheus}/promtool ]]; then return; fi
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    echo "prometheus and promtool not found, and downloading them requires apt-get and dpkg: install version 2.42 or newer in \$PATH" >&2
    exit 1
  fi
  echo "downloading the Debian package of Prometheus"
  local apt=${unpacked}.apt
  mkdir -p "${apt}/lists/partial" "${apt}/cache/archives/partial"
  # Use separate package lists: those of the system may be missing, and only root can write them.
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
  -args -root "$PWD" -kubeconfig "${dir}/kubeconfig" -prometheus "${prometheus}" "${picture_args[@]}"
