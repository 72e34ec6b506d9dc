#!/usr/bin/env bash
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
