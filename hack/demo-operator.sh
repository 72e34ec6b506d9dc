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

# shellcheck disable=SC2154 # The scripts that source this file set kubectl and run.

# Installs and runs the operator of a demo, with its own ServiceAccount. The scripts of the demos source
# this file, with ${kubectl}, ${KUBECONFIG}, and ${run}: the directory of the operator's files.

log() { printf '\n==> %s\n' "$*"; }

start_operator() {
  log "Installing the CustomResourceDefinition, policies and RBAC rules"
  "${kubectl}" apply -k manifests/crd
  "${kubectl}" apply -k manifests/policy
  "${kubectl}" apply -k manifests/rbac
  "${kubectl}" wait --for=condition=Established --timeout=60s crd/rays.ray.kubeflow.org

  log "Starting the operator outside the cluster, as ServiceAccount ray-operator"
  mkdir -p "${run}"
  hack/operator-kubeconfig.sh "${kubectl}" >"${run}/kubeconfig"
  nohup bin/ray-operator --kubeconfig "${run}/kubeconfig" --health-bind-address=127.0.0.1:0 --metrics-bind-address= >"${run}/log" 2>&1 &
  echo $! >"${run}/pid"
  sleep 1
  if ! kill -0 "$(<"${run}/pid")" 2>/dev/null; then
    cat "${run}/log" >&2
    exit 1
  fi
  echo "log file: ${run#"${PWD}"/}/log"
}

stop_operator() {
  [[ -f ${run}/pid ]] || return 0
  local pid
  pid=$(<"${run}/pid")
  # Another process may have got the pid.
  if [[ $(readlink "/proc/${pid}/exe" || ps -o command= -p "${pid}") == *bin/ray-operator* ]] 2>/dev/null; then
    kill "${pid}"
    while kill -0 "${pid}" 2>/dev/null; do sleep 0.1; done
  fi
  rm -rf "${run}"
}
