#!/usr/bin/env bash
# Runs the end-to-end tests on a new local cluster, which is removed afterwards. Arguments are
# passed to go test, such as -run TestScale or -count 3.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=e2e
dir=$PWD/.cluster/${name}
trap 'go run -C hack/cluster . down --name "${name}" --dir "${dir}"' EXIT

# The plugin requires permission to set blockOwnerDeletion, as on OpenShift.
go run -C hack/cluster . up --name "${name}" --dir "${dir}" \
  --extra-arg kube-apiserver=enable-admission-plugins=OwnerReferencesPermissionEnforcement
# The upgrade test updates to this later version.
go run -trimpath ./hack/variant build test/e2e/next.txt bin/ray-operator-next
go test -trimpath ./test/e2e -count 1 -timeout 20m "$@" \
  -args -root "$PWD" -kubeconfig "${dir}/kubeconfig" -audit-log "${dir}/clusters/${name}/logs/audit.log"
