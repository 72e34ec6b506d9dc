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
# Prometheus and promtool, version 2.42 or newer, are found in $PATH, or those of the Debian package are
# downloaded. This does not require root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

picture_args=()
if [[ ${1:-} == --picture ]]; then
  picture_args=(-picture "$(realpath "$2")" -load-time 2m)
  shift 2
fi

prometheus=$(hack/debian-package.sh prometheus prometheus promtool)
"${prometheus}/prometheus" --version 2>&1 | head -1

name=monitoring
dir=$PWD/.cluster/${name}
trap 'go run -C hack/cluster . down --name "${name}" --dir "${dir}"' EXIT
go run -C hack/cluster . up --name "${name}" --dir "${dir}"
go test -trimpath ./test/monitoring -count 1 -timeout 10m "$@" \
  -args -root "$PWD" -kubeconfig "${dir}/kubeconfig" -prometheus "${prometheus}" "${picture_args[@]}"
