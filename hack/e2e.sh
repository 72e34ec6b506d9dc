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

# Runs the end-to-end tests on a new local cluster, which is removed afterwards. Arguments are
# passed to go test, such as -run TestScale or -count 3.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=e2e
dir=$PWD/.cluster/${name}
trap 'go run -C hack/cluster . down --name "${name}" --dir "${dir}"' EXIT

# The plugin requires permission to set blockOwnerDeletion, as on OpenShift. Tests add nodes that kwok
# does not manage.
go run -C hack/cluster . up --name "${name}" --dir "${dir}" \
  --extra-arg kube-apiserver=enable-admission-plugins=OwnerReferencesPermissionEnforcement \
  --extra-arg kwok-controller=manage-all-nodes=false \
  --extra-arg kwok-controller=manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake
# The upgrade test updates to this later version.
go run -trimpath ./hack/variant build test/e2e/next.txt bin/ray-operator-next
go test -trimpath ./test/e2e -count 1 -timeout 20m -parallel 12 "$@" \
  -args -root "$PWD" -kubeconfig "${dir}/kubeconfig" -audit-log "${dir}/clusters/${name}/logs/audit.log"
