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

# Runs the fault-injection suite on new local clusters, which are removed afterwards. If a test fails, the logs of
# the cluster are kept in .cluster/faults-logs or .cluster/outage-logs.
#
#   hack/faults.sh [--tenth] [--seed N] [--case NAME] [--parallel N] [test binary flags...]
#
# --tenth runs a fixed tenth of the suite, including every crash point of create and update. The
# seed determines the order of the cases, the start of outages and the schedules of the model: no
# two seeds share a schedule. The case "model" runs the schedule with that seed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

parallel=16 # cases mostly wait
schedules=100000
fuzz=10000000x
seed=1
only=
flags=()
suite=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --tenth) suite+=(-tenth) && schedules=10000 fuzz= && shift ;;
    --seed) seed=$2 && suite+=(-seed "$2") && shift 2 ;;
    --case) only=$2 && suite+=(-case "$2") && shift 2 ;;
    --parallel) parallel=$2 && shift 2 ;;
    *) flags+=("$1") && shift ;;
  esac
done

if [[ ${only} == model ]]; then
  exec go test -trimpath ./pkg/controller -count 1 -run '^TestModel$' "${flags[@]}" -args -model.seed "${seed}"
fi

name=
dir=
# down removes the cluster, if any, and keeps its logs after a failure.
down() {
  local status=$?
  if [[ -z ${name} ]]; then return; fi
  if [[ ${status} -ne 0 && -d ${dir}/clusters/${name}/logs ]]; then
    rm -rf "${dir}-logs"
    cp -R "${dir}/clusters/${name}/logs" "${dir}-logs"
    echo "logs of the cluster: ${dir}-logs" >&2
  fi
  go run -C hack/cluster . down --name "${name}" --dir "${dir}"
}
trap down EXIT

# up NAME [hack/cluster flags...] removes the previous cluster and starts a new one.
up() {
  down
  name=$1 dir=$PWD/.cluster/$1
  go run -C hack/cluster . up --name "${name}" --dir "${dir}" "${@:2}"
}

# run FLAG... runs tests on the current cluster.
run() {
  # Run the binary directly: go test would print nothing until the end.
  "${tests}" -test.timeout 90m "$@" "${flags[@]}" -root "$PWD" -operator "$PWD/bin/ray-operator" -race-operator "$PWD/bin/ray-operator-race" \
    -kubeconfig "${dir}/kubeconfig" -audit-log "${dir}/clusters/${name}/logs/audit.log" "${suite[@]}"
}

tests=$PWD/bin/faults.test
go test -c -trimpath -o "${tests}" ./test/faults
# Some cases run the operator with the race detector.
go build -race -trimpath -o bin/ray-operator-race ./cmd/ray-operator
# Test the oracles before relying on them.
go test -trimpath ./test/faults/proxy ./test/faults/oracle ./test/audit

if [[ ${only} != infrastructure/* ]]; then
  # The API server uses half of the suite's CPU. Collecting garbage less often trades memory for it.
  up faults --extra-env kube-apiserver=GOGC=300
  run -test.run 'TestFaults|TestAuditLog' -test.parallel "${parallel}"
fi
if [[ -z ${only} || ${only} == infrastructure/* ]]; then
  # Limit etcd's quota so that tests can exhaust it. Disable leader election so that restarted
  # controllers do not wait for their own leases. Without leases, nodes have no heartbeats.
  up outage \
    --extra-arg etcd=quota-backend-bytes=$((128 << 20)) \
    --extra-arg kube-controller-manager=leader-elect=false \
    --extra-arg kube-controller-manager=node-monitor-grace-period=24h \
    --extra-arg kube-scheduler=leader-elect=false \
    --extra-arg kwok-controller=node-lease-duration-seconds=0
  suite+=(-outage-cluster "${name}")
  run -test.run TestInfrastructure -test.parallel 40 # all workloads run at the same time
  down
  name=
fi
if [[ -z ${only} ]]; then
  go test -trimpath ./pkg/controller -count 1 -timeout 60m -run '^TestModel$' "${flags[@]}" \
    -args -model.schedules "${schedules}" -model.from $(((seed - 1) * schedules + 1))
  if [[ -n ${fuzz} ]]; then
    hack/fuzz.sh "${fuzz}"
  fi
fi
