#!/usr/bin/env bash
# Fuzzes what the operator makes of a Ray, FuzzRay, for a time, or with so many inputs.
#
#   hack/fuzz.sh 5m
#   hack/fuzz.sh 10000000x
#
# An input that fails is kept in pkg/controller/testdata/fuzz, where go test tries it again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

limit=${1:?give a time, 5m, or a number of inputs, 10000000x}

# go test -fuzz would also follow the inputs through all packages of Kubernetes' that the
# test is linked with: after each input, most of the time would go into comparing their
# counters. These are the packages that an input decides the way through.
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

corpus=$(go env GOCACHE)/fuzz/$(go list ./pkg/controller) # where go test -fuzz keeps it
cd pkg/controller
../../bin/fuzz.test -test.run '^$' -test.fuzz '^FuzzRay$' -test.fuzzcachedir "${corpus}" \
  -test.fuzzminimizetime 5x -test.fuzztime "${limit}"
