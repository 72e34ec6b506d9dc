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

# Mutation testing of the fault-injection suite. Builds the operator with each mutant of
# test/faults/mutants and runs the cases that it names. Fails unless the oracle that the mutant names
# reports a violation in one of them, and none in these cases without the mutant. For the oracle
# "model", 2000 schedules of the model run instead of cases; for the oracle "unit", the unit tests of its package.
#
#   hack/mutants.sh [NAME...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
names=("$@")
if [[ ${#names[@]} -eq 0 ]]; then
  for mutant in test/faults/mutants/*.txt; do
    names+=("$(basename "${mutant}" .txt)")
  done
fi

name=mutants
cluster=$PWD/.cluster/${name}
dir=$(mktemp -d)
trap 'rm -rf "${dir}"; go run -C hack/cluster . down --name "${name}" --dir "${cluster}"' EXIT
go run -C hack/cluster . up --name "${name}" --dir "${cluster}"
go build -trimpath -o "${dir}/variant" ./hack/variant
go test -c -o "${dir}/faults.test" ./test/faults

# run_cases OPERATOR CASES [NAME=VALUE...] runs cases with an operator binary and environment.
run_cases() {
  env "${@:3}" "${dir}/faults.test" -test.run '^TestFaults$' -test.parallel 8 -cases "^($2)$" -step-timeout 30s \
    -root "${PWD}" -operator "$1" -kubeconfig "${cluster}/kubeconfig"
}

# Control run: no oracle may report a violation without a mutant.
all=$(for mutant in "${names[@]}"; do sed -n 's/^Cases: //p' "test/faults/mutants/${mutant}.txt"; done | paste -sd '|')
go build -trimpath -o "${dir}/control" ./cmd/ray-operator
if [[ -n ${all} ]] && ! run_cases "${dir}/control" "${all}" >"${dir}/control.log" 2>&1; then
  echo "FAILED   the unchanged operator:"
  grep -E 'oracle|FAIL' "${dir}/control.log" | cut -c 1-150 | head -20 || true
  exit 1
fi
echo "passed   the unchanged operator, in all these cases"

missed=0
for mutant in "${names[@]}"; do
  file=test/faults/mutants/${mutant}.txt
  oracle=$(sed -n 's/^Oracle: //p' "${file}")
  cases=$(sed -n 's/^Cases: //p' "${file}")
  log=${dir}/${mutant}.log
  if [[ ${oracle} == unit ]]; then
    package=$(sed -n 's/^Package: //p' "${file}" | head -n 1)
    "${dir}/variant" build "${file}" "${dir}/${mutant}" "./${package}"
    (cd "${package}" && "${dir}/${mutant}" -test.short) >"${log}" 2>&1 || true
    if failed=$(grep -m 1 -e '--- FAIL: ' "${log}"); then
      printf 'killed   %-26s unit: %s\n' "${mutant}" "${failed#*--- FAIL: }"
    else
      printf 'SURVIVED %-26s no unit test failed\n' "${mutant}"
      missed=1
    fi
    continue
  fi
  if [[ ${oracle} == model ]]; then
    "${dir}/variant" build "${file}" "${dir}/${mutant}" ./pkg/controller
    (cd pkg/controller && "${dir}/${mutant}" -test.run '^TestModel$' -model.schedules 2000) >"${log}" 2>&1 || true
    if ! grep -q 'VIOLATION: ' "${log}"; then
      printf 'SURVIVED %-26s the model reported no violation\n' "${mutant}"
      missed=1
    else
      printf 'killed   %-26s model: %s\n' "${mutant}" "$(grep -m 1 -o 'VIOLATION: .\{0,90\}' "${log}")"
    fi
    continue
  fi
  "${dir}/variant" build "${file}" "${dir}/${mutant}"
  read -ra environment < <(sed -n 's/^Environment: //p' "${file}") || true
  run_cases "${dir}/${mutant}" "${cases}" "${environment[@]}" >"${log}" 2>&1 || true
  if grep -q "oracle ${oracle}: " "${log}"; then
    printf 'killed   %-26s %s\n' "${mutant}" "$(grep -m 1 -o "oracle ${oracle}: .\{0,90\}" "${log}")"
  else
    printf 'SURVIVED %-26s oracle %s reported no violation\n' "${mutant}" "${oracle}"
    grep -E 'oracle|FAIL|^ok|PASS' "${log}" | cut -c 1-150 | head -5 || true
    missed=1
  fi
done
exit "${missed}"
