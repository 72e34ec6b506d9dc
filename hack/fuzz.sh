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

# Runs FuzzRay, which fuzzes the sync of a Ray, for a duration or a number of inputs.
#
#   hack/fuzz.sh 5m
#   hack/fuzz.sh 10000000x
#
# A failing input is stored in pkg/controller/testdata/fuzz, where go test runs it again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

limit=${1:?usage: hack/fuzz.sh DURATION|INPUTS, such as 5m or 10000000x}

# go test -fuzz would instrument all linked packages, including those of Kubernetes, and spend
# most of its time comparing their coverage counters. Instrument only packages with code paths
# that depend on the input.
instrument=()
for package in \
  github.com/kubeflow/ray-operator/... \
  k8s.io/apimachinery/pkg/api/resource \
  k8s.io/apimachinery/pkg/util/intstr \
  k8s.io/apimachinery/pkg/util/json \
  sigs.k8s.io/json/...; do
  instrument+=(-gcflags "${package}=-d=libfuzzer")
done
go test -c -trimpath "${instrument[@]}" -o bin/fuzz.test ./pkg/controller

corpus=$(go env GOCACHE)/fuzz/$(go list ./pkg/controller) # the same directory as go test -fuzz uses
cd pkg/controller
../../bin/fuzz.test -test.run '^$' -test.fuzz '^FuzzRay$' -test.fuzzcachedir "${corpus}" \
  -test.fuzzminimizetime 5x -test.fuzztime "${limit}"
