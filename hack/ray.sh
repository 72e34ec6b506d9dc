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

# Runs the tests with real Ray on a new local cluster with a real node, which is removed afterwards.
# Requires Linux on x86_64, and root. Arguments are passed to go test, such as -run TestHeadLoss.
#
# The measured durations are in .cluster/ray.md. If a test fails, the logs of the cluster are kept in
# .cluster/ray-logs. HEAD_AWAY=10m sets for how long TestHeadAway runs without a head.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=$PWD
name=ray
dir=${root}/.cluster/${name}
logs=${root}/.cluster/${name}-logs

# down removes the cluster, and keeps its logs after a failure.
down() {
  local status=$?
  if [[ ${status} -ne 0 && -d ${dir}/clusters/${name}/logs ]]; then
    rm -rf "${logs}"
    cp -R "${dir}/clusters/${name}/logs" "${logs}"
    echo "logs of the cluster: ${logs}" >&2
  fi
  go run -C hack/cluster . down --name "${name}" --dir "${dir}"
}

hack/ray-image.sh
go run -C hack/cluster . build
mapfile -t versions < <(hack/ray-image.sh --versions)
images=()
for version in "${versions[@]}"; do images+=("${root}/bin/ray-image/ray-${version}.tar"); done

# Redis runs in a Pod, from a directory of the machine. The image of Ray has the other libraries that it requires.
hack/debian-package.sh --into "${root}/bin/redis" redis-server redis-tools libatomic1 libjemalloc2 liblzf1

trap down EXIT
go run -C hack/cluster . up --node real --name "${name}" --dir "${dir}"
go run -C hack/cluster . load --name "${name}" --dir "${dir}" "${images[@]}"
# The tests of NetworkPolicies run these programs in Pods.
CGO_ENABLED=0 go build -C hack/cluster -trimpath -o "${root}/bin/probe" ./testdata/probe
go run -C hack/cluster . load --name "${name}" --dir "${dir}" \
  "localhost/probe:1=${root}/bin/probe" "localhost/ray-operator:1=${root}/bin/ray-operator"
# Starting Ray takes much CPU, and Ray gives up a node that does not start within 30 seconds: on two
# cores, more than two clusters at a time are too many.
go test -trimpath ./test/ray -count 1 -timeout 30m -parallel 2 "$@" \
  -args -root "${root}" -kubeconfig "${dir}/kubeconfig" -results "${root}/.cluster/ray.md" \
  -ray-version "${versions[0]}" -oldest-ray-version "${versions[-1]}" -head-away "${HEAD_AWAY:-80s}"
