#!/usr/bin/env bash
# Proves that the fault-injection suite finds defects: it builds the operator with each defect
# of test/faults/mutants, and fails unless the oracle that the patch names objects in one of
# the cases that it names, where it does not object without the defect. What "model" has to find is
# given 2,000 of its schedules.
#
#   hack/mutants.sh [NAME...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
names=("$@")
if [[ ${#names[@]} -eq 0 ]]; then
  for patch in test/faults/mutants/*.patch; do
    names+=("$(basename "${patch}" .patch)")
  done
fi

name=mutants
cluster=$PWD/.cluster/${name}
dir=$(mktemp -d)
trap 'rm -rf "${dir}"; go run -C hack/cluster . down --name "${name}" --dir "${cluster}"' EXIT
go run -C hack/cluster . up --name "${name}" --dir "${cluster}"
go test -c -o "${dir}/faults.test" ./test/faults

# judge OPERATOR CASES [NAME=VALUE...] runs cases with an operator, in that environment.
judge() {
  env "${@:3}" "${dir}/faults.test" -test.run '^TestFaults$' -test.parallel 8 -cases "^($2)$" -patience 30s \
    -root "${PWD}" -operator "$1" -kubeconfig "${cluster}/kubeconfig"
}

# Without a defect nothing objects, in all the cases together.
all=$(for mutant in "${names[@]}"; do sed -n 's/^Cases: //p' "test/faults/mutants/${mutant}.patch"; done | paste -sd '|')
go build -trimpath -o "${dir}/control" ./cmd/ray-operator
if [[ -n ${all} ]] && ! judge "${dir}/control" "${all}" >"${dir}/control.log" 2>&1; then
  echo "FAILED  the operator without a defect:"
  grep -E 'oracle|FAIL' "${dir}/control.log" | cut -c 1-150 | head -20 || true
  exit 1
fi
echo "passed  the operator without a defect, in all these cases"

missed=0
for mutant in "${names[@]}"; do
  patch=test/faults/mutants/${mutant}.patch
  oracle=$(sed -n 's/^Oracle: //p' "${patch}")
  cases=$(sed -n 's/^Cases: //p' "${patch}")
  log=${dir}/${mutant}.log
  if [[ ${oracle} == model ]]; then
    hack/build-patched.sh "${patch}" "${dir}/${mutant}" ./pkg/controller
    (cd pkg/controller && "${dir}/${mutant}" -test.run '^TestModel$' -model.schedules 2000) >"${log}" 2>&1 || true
    if ! grep -q 'VIOLATION: ' "${log}"; then
      printf 'MISSED  %-26s the model did not object\n' "${mutant}"
      missed=1
    else
      printf 'caught  %-26s model: %s\n' "${mutant}" "$(grep -m 1 -o 'VIOLATION: .\{0,90\}' "${log}")"
    fi
    continue
  fi
  hack/build-patched.sh "${patch}" "${dir}/${mutant}"
  read -ra environment < <(sed -n 's/^Environment: //p' "${patch}") || true
  judge "${dir}/${mutant}" "${cases}" "${environment[@]}" >"${log}" 2>&1 || true
  if grep -q "oracle ${oracle}: " "${log}"; then
    printf 'caught  %-26s %s\n' "${mutant}" "$(grep -m 1 -o "oracle ${oracle}: .\{0,90\}" "${log}")"
  else
    printf 'MISSED  %-26s oracle %s did not object\n' "${mutant}" "${oracle}"
    grep -E 'oracle|FAIL|^ok|PASS' "${log}" | cut -c 1-150 | head -5 || true
    missed=1
  fi
done
exit "${missed}"
