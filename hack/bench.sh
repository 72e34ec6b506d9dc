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

# Measures the operator under load. Each load runs on a new local cluster, which is removed
# afterwards.
#
#   hack/bench.sh [--rays N,N...] [--no-pods] [--rest DURATION] [operator flags...]
#   hack/bench.sh --autoscaled N [--rest DURATION] [operator flags...]
#
# --no-pods disables the Deployment and ReplicaSet controllers, so that a machine can hold many
# more Rays; Health does not become True then. --rest sets how long the steady state is measured.
# --autoscaled measures only the steady state, of Rays that the operator polls, without Pods.
# The report is printed and, with its raw data, written to .bench.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rays=100,1000
pods=true
rest=1m
autoscaled=
while [[ $# -gt 0 ]]; do
  case $1 in
    --rays) rays=$2 && shift 2 ;;
    --no-pods) pods=false && shift ;;
    --autoscaled) autoscaled=$2 && rays= && pods=false && shift 2 ;;
    --rest) rest=$2 && shift 2 ;;
    *) break ;;
  esac
done

name=bench
dir=$PWD/.cluster/${name}
out=$PWD/.bench
kubectl=$PWD/bin/cluster/kubectl
export KUBECONFIG=${dir}/kubeconfig

down() { go run -C hack/cluster . down --name "${name}" --dir "${dir}"; }
trap down EXIT

# up NODES starts a new cluster and installs the operator's manifests.
up() {
  down >/dev/null
  local extra=()
  # Keep the garbage collector, since deletion is measured.
  ${pods} || extra+=(--extra-arg "kube-controller-manager=controllers=*,-deployment-controller,-replicaset-controller")
  go run -C hack/cluster . up --name "${name}" --dir "${dir}" --nodes "$1" "${extra[@]}" >&2
  for part in crd policy rbac; do "${kubectl}" apply -k "manifests/${part}" >&2; done
  "${kubectl}" wait --for=condition=Established --timeout=60s crd/rays.ray.kubeflow.org >&2
  hack/operator-kubeconfig.sh "${kubectl}" >"${out}/operator.kubeconfig"
}

# load COMMAND FLAG... runs a measurement on the cluster.
load() {
  "$PWD/bin/load" "$1" -kubeconfig "${dir}/kubeconfig" -cluster "${dir}/clusters/${name}" \
    -operator-kubeconfig "${out}/operator.kubeconfig" -operator-log "${out}/operator.log" "${@:2}"
}

mkdir -p "${out}"
rm -f "${out}/operator.log"
go build -trimpath -o bin/load ./test/load

results=()
for count in ${rays//,/ }; do
  # A Ray has four Pods, and up to three more during a rollout. A node has room for 1000.
  up $((count * 7 / 1000 + 3))
  result=${out}/rays-${count}$(${pods} || echo -no-pods).json
  load measure -rays "${count}" -pods="${pods}" -rest "${rest}" -out "${result}" -- "$@"
  results+=("${result}")
done
if ${pods}; then
  # One Ray with 1000 workers, and a few hundred Pods of small Rays.
  up 5
  load big -rays 20 -out "${out}/big.json" -- "$@"
  results+=("${out}/big.json")
fi
if [[ -n ${autoscaled} ]]; then
  up 1
  load scaled -rays "${autoscaled}" -rest "${rest}" -out "${out}/autoscaled.json" -- "$@"
  results+=("${out}/autoscaled.json")
fi
bin/load report -out "${out}" "${results[@]}"
