#!/usr/bin/env bash
# Lints all modules that have code with the golangci-lint that hack/lint pins, and checks that the
# patches of the tests still fit the code. Arguments are golangci-lint's, such as --fix.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

echo "building golangci-lint (the first time takes some minutes)"
CGO_ENABLED=0 go build -C hack/lint -trimpath -o ../../bin/golangci-lint .
for module in . hack/cluster hack/tools; do
  echo "linting ${module}"
  (cd "${module}" && "${OLDPWD}/bin/golangci-lint" run --allow-parallel-runners --config "${OLDPWD}/.golangci.yaml" "$@" ./...)
done

echo "checking that the patches of the tests can be applied"
for patch in test/faults/mutants/*.patch test/e2e/*.patch; do
  git apply --check "${patch}"
done
