#!/usr/bin/env bash
# The demo: the operator under its own ServiceAccount, with the sample Ray. It runs on a
# local cluster of its own, or on the one that `make demo KUBECONFIG=<file>` names.
#
#   hack/demo.sh up|down
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=$PWD
dir=${root}/.cluster/demo
run=${root}/.cluster/demo-operator # beside the cluster's directory, which is the cluster's
kubectl=${root}/bin/cluster/kubectl
given=${KUBECONFIG:-}
# Whoever follows the hints below has the demo's own cluster in KUBECONFIG.
[[ ${given} == "${dir}/kubeconfig" ]] && given=
if [[ -n ${given} && ${KUBECONFIG_ORIGIN:-} != "command line" ]]; then
  cat >&2 <<TEXT
KUBECONFIG is set in your environment, to ${given}. Say which cluster you mean:
  make demo KUBECONFIG=${given}    that one
  make demo KUBECONFIG=            a local one, which is built and started
TEXT
  exit 2
fi
export KUBECONFIG=${given:-${dir}/kubeconfig}

say() { printf '\n==> %s\n' "$*"; }

stop_operator() {
  [[ -f ${run}/pid ]] || return 0
  local pid
  pid=$(<"${run}/pid")
  # The pid may be another process's by now.
  if [[ $(readlink "/proc/${pid}/exe" || ps -o command= -p "${pid}") == *bin/ray-operator* ]] 2>/dev/null; then
    kill "${pid}"
    while kill -0 "${pid}" 2>/dev/null; do sleep 0.1; done
  fi
  rm -rf "${run}"
}

up() {
  stop_operator
  if [[ -z ${given} ]]; then
    say "Starting a local Kubernetes (the first time builds it, which takes about ten minutes)"
    go run -C hack/cluster . up --name demo --dir "${dir}"
  else
    go run -C hack/cluster . build
    say "Using the cluster of KUBECONFIG=${given}, at $("${kubectl}" config view --minify -o jsonpath='{.clusters[0].cluster.server}')"
  fi

  say "Building the operator"
  make --no-print-directory build

  say "Installing the CustomResourceDefinition, the policies and the operator's rights"
  "${kubectl}" apply -k manifests/crd
  "${kubectl}" apply -k manifests/policy
  "${kubectl}" apply -k manifests/rbac
  "${kubectl}" wait --for=condition=Established --timeout=60s crd/rays.ray.kubeflow.org

  say "Starting the operator, outside the cluster, as the ServiceAccount ray-operator"
  mkdir -p "${run}"
  hack/operator-kubeconfig.sh "${kubectl}" >"${run}/kubeconfig"
  nohup bin/ray-operator --kubeconfig "${run}/kubeconfig" --health-bind-address=127.0.0.1:0 --metrics-bind-address= >"${run}/log" 2>&1 &
  echo $! >"${run}/pid"
  sleep 1
  if ! kill -0 "$(<"${run}/pid")" 2>/dev/null; then
    cat "${run}/log" >&2
    exit 1
  fi
  echo "its log: ${run#"${root}"/}/log"

  say "Applying manifests/samples/sample-cluster.yaml"
  "${kubectl}" apply -f manifests/samples/sample-cluster.yaml
  "${kubectl}" wait --for=condition=Health --timeout=120s ray/sample-cluster

  say "kubectl describe ray sample-cluster"
  "${kubectl}" describe ray sample-cluster

  cat <<TEXT

==> It runs. Try, after

      export KUBECONFIG=${KUBECONFIG}
      alias kubectl=${kubectl}

    kubectl get rays --watch                                        # watch it, in a second terminal
    kubectl scale ray sample-cluster --replicas=5                   # scale it
    kubectl patch ray sample-cluster --type=json -p \\
      '[{"op":"replace","path":"/spec/worker/template/spec/containers/0/image","value":"rayproject/examples:2"}]'
                                                                    # change its image: the workers roll
    kubectl delete deployment sample-cluster-worker                 # break it: it comes back
    kubectl scale deployment sample-cluster-worker --replicas=0     # break it: it is put right
    kubectl describe ray sample-cluster                             # what happened
    kubectl delete ray sample-cluster                               # and all of it is gone

    Stop it with: make demo-down
TEXT
}

down() {
  stop_operator
  if [[ -n ${given} ]]; then
    "${kubectl}" delete --ignore-not-found -f manifests/samples/sample-cluster.yaml
    # Others may have Rays there by now, which would go with the CustomResourceDefinition.
    echo "The CustomResourceDefinition, the policies and the operator's rights are left. To remove"
    echo "them, and every Ray in that cluster: kubectl delete --ignore-not-found -k manifests/default"
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
