#!/usr/bin/env bash
# Tests the Helm chart on a local cluster of its own, which goes afterwards. Arguments are go
# test's, such as -run TestValues.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=chart
dir=$PWD/.cluster/${name}
trap 'go run -C hack/cluster . down --name "${name}" --dir "${dir}"' EXIT
go run -C hack/cluster . up --name "${name}" --dir "${dir}"

# The Prometheus Operator's own CustomResourceDefinitions say whether a ServiceMonitor and a
# PrometheusRule are valid. They are in its Go module, whose contents Go's checksum database vouches for.
module=$(cd / && go mod download -json github.com/prometheus-operator/prometheus-operator@v0.85.0 | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
for kind in servicemonitors prometheusrules; do
  bin/cluster/kubectl --kubeconfig "${dir}/kubeconfig" create \
    -f "${module}/example/prometheus-operator-crd/monitoring.coreos.com_${kind}.yaml"
done

go test -trimpath ./test/chart -count 1 "$@" -args -root "$PWD" -kubeconfig "${dir}/kubeconfig"
