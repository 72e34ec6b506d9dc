#!/usr/bin/env bash
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
