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

# Tests the Helm chart on a temporary local cluster. Arguments are passed to go test, for example
# -run TestValues.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=chart
dir=$PWD/.cluster/${name}
trap 'go run -C hack/cluster . down --name "${name}" --dir "${dir}"' EXIT
go run -C hack/cluster . up --name "${name}" --dir "${dir}"

# Install the CustomResourceDefinitions of prometheus-operator, so that the API server validates the
# ServiceMonitor and the PrometheusRule. They are part of its Go module, which Go's checksum database
# authenticates.
module=$(cd / && go mod download -json github.com/prometheus-operator/prometheus-operator@v0.85.0 | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
for kind in servicemonitors prometheusrules; do
  bin/cluster/kubectl --kubeconfig "${dir}/kubeconfig" create \
    -f "${module}/example/prometheus-operator-crd/monitoring.coreos.com_${kind}.yaml"
done

go test -trimpath ./test/chart -count 1 "$@" -args -root "$PWD" -kubeconfig "${dir}/kubeconfig"
