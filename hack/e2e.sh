#!/usr/bin/env bash
# Runs the end-to-end tests on a local cluster of their own, which goes afterwards.
# Arguments are go test's, such as -run TestScale or -count 3.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=e2e
dir=$PWD/.cluster/${name}
trap 'go run -C hack/cluster . down --name "${name}" --dir "${dir}"' EXIT

# The plugin makes the API server ask for the right to set blockOwnerDeletion, as
# OpenShift does.
go run -C hack/cluster . up --name "${name}" --dir "${dir}" \
  --extra-arg kube-apiserver=enable-admission-plugins=OwnerReferencesPermissionEnforcement
# A version to come, for the upgrade.
hack/build-patched.sh test/e2e/next.patch bin/ray-operator-next
go test -trimpath ./test/e2e -count 1 -timeout 20m "$@" \
  -args -root "$PWD" -kubeconfig "${dir}/kubeconfig" -audit-log "${dir}/clusters/${name}/logs/audit.log"
