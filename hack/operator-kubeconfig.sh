#!/usr/bin/env bash
# Prints a kubeconfig for the cluster of $KUBECONFIG in which the user is the operator's
# ServiceAccount, so that an operator outside the cluster has the rights of one inside.
#
#   hack/operator-kubeconfig.sh KUBECTL
set -euo pipefail
kubectl=$1

token=$("${kubectl}" create token ray-operator --namespace ray-system --duration 24h)
config=$(mktemp)
trap 'rm -f "${config}"' EXIT
# Only the current context: its credentials are replaced, and no others may come along.
"${kubectl}" config view --raw --minify --flatten >"${config}"
export KUBECONFIG=${config}
context=$("${kubectl}" config current-context)
user=$("${kubectl}" config view -o jsonpath='{.contexts[0].context.user}')
"${kubectl}" config delete-user "${user}" >/dev/null
"${kubectl}" config set-credentials ray-operator --token "${token}" >/dev/null
"${kubectl}" config set-context "${context}" --user ray-operator >/dev/null
cat "${config}"
