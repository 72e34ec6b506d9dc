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

# Prints a kubeconfig for the cluster of $KUBECONFIG with the operator's ServiceAccount as user,
# so that an operator outside the cluster has the same permissions as inside.
#
#   hack/operator-kubeconfig.sh KUBECTL
set -euo pipefail
kubectl=$1

token=$("${kubectl}" create token ray-operator --namespace ray-system --duration 24h)
config=$(mktemp)
trap 'rm -f "${config}"' EXIT
# Copy only the current context, and replace its credentials.
"${kubectl}" config view --raw --minify --flatten >"${config}"
export KUBECONFIG=${config}
context=$("${kubectl}" config current-context)
user=$("${kubectl}" config view -o jsonpath='{.contexts[0].context.user}')
"${kubectl}" config delete-user "${user}" >/dev/null
"${kubectl}" config set-credentials ray-operator --token "${token}" >/dev/null
"${kubectl}" config set-context "${context}" --user ray-operator >/dev/null
cat "${config}"
