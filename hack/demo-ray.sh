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

# Runs real Ray on a new local cluster with a real node: applies the short sample, and runs a Ray job.
# Requires Linux on x86_64, and root.
#
#   hack/demo-ray.sh up|down
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=$PWD
name=demo-ray
dir=${root}/.cluster/${name}
run=${root}/.cluster/${name}-operator # hack/cluster owns and removes ${dir}
kubectl=${root}/bin/cluster/kubectl
export KUBECONFIG=${dir}/kubeconfig

source hack/demo-operator.sh

# show COMMAND... prints a command and runs it.
show() {
  log "kubectl $*"
  "${kubectl}" "$@"
}

# run_job submits a Ray job with 12 tasks, which print the node that they run on.
run_job() {
  "${kubectl}" exec deployment/ray-cluster-head -- ray job submit --address=http://127.0.0.1:8265 -- python3 -c '
import collections, os, time, ray

@ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
def task(number):
    time.sleep(1)
    return os.uname().nodename

ray.init(log_to_driver=False)
nodes = ray.get([task.remote(number) for number in range(12)])
for node, tasks in sorted(collections.Counter(nodes).items()):
    print(f"{tasks} tasks ran on {node}")
'
}

up() {
  stop_operator
  hack/ray-image.sh "${version}"
  log "Starting a local Kubernetes cluster with a real node (the first build takes about fifteen minutes)"
  go run -C hack/cluster . up --node real --name "${name}" --dir "${dir}"
  go run -C hack/cluster . load --name "${name}" --dir "${dir}" "${root}/bin/ray-image/ray-${version}.tar"

  log "Building the operator"
  make --no-print-directory build

  start_operator

  log "Applying manifests/samples/ray-cluster.yaml, and waiting until Ray runs on all nodes"
  "${kubectl}" apply -f manifests/samples/ray-cluster.yaml
  if ! "${kubectl}" wait --for=condition=Ready --timeout=180s ray/ray-cluster; then
    show describe ray ray-cluster
    exit 1
  fi
  show get rays,pods

  log "Running a Ray job"
  run_job

  show exec deployment/ray-cluster-head -- ray status

  cat <<TEXT

==> Ray is running. Set up kubectl:

      export KUBECONFIG=${KUBECONFIG}
      alias kubectl=${kubectl}

    Then try:

    kubectl get rays --watch                                   # watch it in a second terminal
    kubectl scale ray ray-cluster --replicas=3                 # one worker more, which joins within seconds
    kubectl delete pod -l ray.kubeflow.org/role=head           # lose the head: the workers join the next one
    kubectl exec -it deployment/ray-cluster-head -- python3    # import ray; ray.init(); ray.nodes()
    kubectl port-forward service/ray-cluster-head 8265         # the dashboard: http://localhost:8265
    kubectl describe ray ray-cluster                           # see status and events
    kubectl delete ray ray-cluster                             # delete it with all children

    Stop the demo with: make demo-ray-down
TEXT
}

down() {
  stop_operator
  go run -C hack/cluster . down --name "${name}" --dir "${dir}"
}

version=$(hack/ray-image.sh --versions | head -n 1)
case ${1:-} in
  up) up ;;
  down) down ;;
  *)
    echo "usage: hack/demo-ray.sh up|down" >&2
    exit 2
    ;;
esac
