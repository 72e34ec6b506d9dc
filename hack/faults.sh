#!/usr/bin/env bash
# Runs the fault-injection suite on a local cluster of its own, which goes afterwards.
#
#   hack/faults.sh [--tenth] [--seed N] [--case NAME] [--parallel N] [go test flags...]
#
# --tenth runs a fixed tenth of the cases, with every crash point of create and update.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

parallel=8 # A case mostly waits.
flags=()
suite=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --tenth) suite+=(-tenth) && shift ;;
    --seed) suite+=(-seed "$2") && shift 2 ;;
    --case) suite+=(-case "$2") && shift 2 ;;
    --parallel) parallel=$2 && shift 2 ;;
    *) flags+=("$1") && shift ;;
  esac
done

name=faults
dir=$PWD/.cluster/${name}
trap 'go run -C hack/cluster . down --name "${name}" --dir "${dir}"' EXIT

go run -C hack/cluster . up --name "${name}" --dir "${dir}"
# In part of the cases the operator looks for data races in itself.
go build -race -trimpath -o "${dir}/ray-operator-race" ./cmd/ray-operator
# Those without a cluster come first: what judges must be right before it judges.
go test -trimpath ./test/faults/proxy ./test/faults/oracle
go test -trimpath ./test/faults -count 1 -timeout 60m -parallel "${parallel}" "${flags[@]}" \
  -args -root "$PWD" -operator "$PWD/bin/ray-operator" -race-operator "${dir}/ray-operator-race" \
  -kubeconfig "${dir}/kubeconfig" -audit-log "${dir}/clusters/${name}/logs/audit.log" "${suite[@]}"
