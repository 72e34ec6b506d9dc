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

# Runs the fuzz tests for a duration, or a number of inputs, which they share:
#
#   FuzzRay           70 %   the sync of a Ray
#   FuzzClusterState  25 %   replies of a GCS
#   FuzzDecide         5 %   the decision of the autoscaler, which takes longest
#
#   hack/fuzz.sh 5m
#   hack/fuzz.sh 10000000x
#
# A failing input is stored in testdata/fuzz of the package, where go test runs it again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

limit=${1:-}
if [[ ! ${limit} =~ ^([0-9]+)([xsmh])$ ]]; then
  echo "usage: hack/fuzz.sh DURATION|INPUTS, such as 5m or 10000000x" >&2
  exit 2
fi
number=${BASH_REMATCH[1]} unit=${BASH_REMATCH[2]}
case ${unit} in
  m) number=$((number * 60)) unit=s ;;
  h) number=$((number * 3600)) unit=s ;;
esac

# go test -fuzz would instrument all linked packages, including those of Kubernetes, and spend
# most of its time comparing their coverage counters. Instrument only packages with code paths
# that depend on the input.
instrument=()
for package in \
  github.com/kubeflow/ray-operator/... \
  google.golang.org/protobuf/encoding/protowire \
  k8s.io/apimachinery/pkg/api/resource \
  k8s.io/apimachinery/pkg/util/intstr \
  k8s.io/apimachinery/pkg/util/json \
  sigs.k8s.io/json/...; do
  instrument+=(-gcflags "${package}=-d=libfuzzer")
done

# fuzz PACKAGE TEST PERCENT runs a fuzz test for a part of the limit.
fuzz() {
  local binary=${PWD}/bin/fuzz.test corpus
  corpus=$(go env GOCACHE)/fuzz/$(go list "./$1") # the same directory as go test -fuzz uses
  go test -c -trimpath "${instrument[@]}" -o "${binary}" "./$1"
  (cd "$1" && "${binary}" -test.run '^$' -test.fuzz "^$2\$" -test.fuzzcachedir "${corpus}" \
    -test.fuzzminimizetime 5x -test.fuzztime "$(((number * $3 + 99) / 100))${unit}")
}
fuzz pkg/controller FuzzRay 70
fuzz pkg/autoscaler/gcs FuzzClusterState 25
fuzz pkg/autoscaler FuzzDecide 5
