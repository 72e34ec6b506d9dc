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

# Runs the operator with its own ServiceAccount and applies the sample Ray, on a new local
# cluster or on the cluster of `make demo KUBECONFIG=<file>`.
#
#   hack/demo.sh up|down
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=$PWD
dir=${root}/.cluster/demo
run=${root}/.cluster/demo-operator # hack/cluster owns and removes ${dir}
kubectl=${root}/bin/cluster/kubectl
given=${KUBECONFIG:-}
# The instructions below set KUBECONFIG to the demo cluster.
[[ ${given} == "${dir}/kubeconfig" ]] && given=
if [[ -n ${given} && ${KUBECONFIG_ORIGIN:-} != "command line" ]]; then
  cat >&2 <<TEXT
KUBECONFIG is set to ${given} in your environment. Select a cluster explicitly:
  make demo KUBECONFIG=${given}    that cluster
  make demo KUBECONFIG=            a new local cluster
TEXT
  exit 2
fi
export KUBECONFIG=${given:-${dir}/kubeconfig}

source hack/demo-operator.sh

up() {
  stop_operator
  if [[ -z ${given} ]]; then
    log "Starting a local Kubernetes cluster (the first build takes about ten minutes)"
    go run -C hack/cluster . up --name demo --dir "${dir}"
  else
    go run -C hack/cluster . build
    log "Using the cluster of KUBECONFIG=${given} at $("${kubectl}" config view --minify -o jsonpath='{.clusters[0].cluster.server}')"
  fi

  log "Building the operator"
  make --no-print-directory build

  start_operator

  log "Applying manifests/samples/sample-cluster.yaml"
  "${kubectl}" apply -f manifests/samples/sample-cluster.yaml
  "${kubectl}" wait --for=condition=Health --timeout=120s ray/sample-cluster

  log "kubectl describe ray sample-cluster"
  "${kubectl}" describe ray sample-cluster

  cat <<TEXT

==> The sample Ray is running. Set up kubectl:

      export KUBECONFIG=${KUBECONFIG}
      alias kubectl=${kubectl}

    Then try:

    kubectl get rays --watch                                        # watch it in a second terminal
    kubectl scale ray sample-cluster --replicas=5                   # scale the workers
    kubectl patch ray sample-cluster --type=json -p \\
      '[{"op":"replace","path":"/spec/worker/template/spec/containers/0/image","value":"rayproject/examples:2"}]'
                                                                    # change the image: a rolling update
    kubectl delete deployment sample-cluster-worker                 # the operator creates it again
    kubectl scale deployment sample-cluster-worker --replicas=0     # the operator reverts it
    kubectl describe ray sample-cluster                             # see status and events
    kubectl delete ray sample-cluster                               # delete it with all children

    Stop the demo with: make demo-down${given:+ KUBECONFIG=${given}}
TEXT
}

down() {
  stop_operator
  if [[ -n ${given} ]]; then
    "${kubectl}" delete --ignore-not-found -f manifests/samples/sample-cluster.yaml
    # Deleting the CustomResourceDefinition would delete every Ray in the cluster.
    echo "The CustomResourceDefinition, policies and RBAC rules remain. To remove them and all Rays"
    echo "in the cluster: kubectl delete --ignore-not-found -k manifests/default"
  else
    go run -C hack/cluster . down --name demo --dir "${dir}"
  fi
}

case ${1:-} in
  up) up ;;
  down) down ;;
  *)
    echo "usage: hack/demo.sh up|down" >&2
    exit 2
    ;;
esac
