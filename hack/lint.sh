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

# Runs all static checks: golangci-lint, govulncheck and shellcheck, terms and line lengths, license
# headers, and whether the variants that tests build apply. Arguments are passed to golangci-lint, such
# as --fix.
#
# GOVULNDB is the URL of the vulnerability database, such as file:///srv/vulndb. The default is
# https://vuln.go.dev; govulncheck is skipped if that is not reachable.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=$PWD
modules=(. hack/cluster hack/tools)
failed=()

# check NAME COMMAND... runs a check. A failure does not stop the other checks.
check() {
  echo "==> $1"
  "${@:2}" || failed+=("$1")
}

run_golangci_lint() {
  local module result=0
  # The first build takes some minutes.
  CGO_ENABLED=0 go build -C hack/lint -trimpath -o "${root}/bin/golangci-lint" . || return
  for module in "${modules[@]}"; do
    echo "linting ${module}"
    (cd "${module}" && "${root}/bin/golangci-lint" run --allow-parallel-runners --config "${root}/.golangci.yaml" "$@" ./...) || result=1
  done
  return "${result}"
}

run_govulncheck() {
  local database=${GOVULNDB:-https://vuln.go.dev} module result=0
  CGO_ENABLED=0 go build -C hack/lint -trimpath -o "${root}/bin/govulncheck" golang.org/x/vuln/cmd/govulncheck || return
  # -version prints this line only if it can read the database.
  if ! timeout 30 bin/govulncheck -db "${database}" -version | grep -q '^DB updated:'; then
    if [[ -n ${GOVULNDB:-} ]]; then
      echo "the vulnerability database GOVULNDB=${database} is not readable" >&2
      return 1
    fi
    echo "SKIPPED govulncheck: ${database} is not reachable; set GOVULNDB to the URL of another vulnerability database"
    return
  fi
  for module in "${modules[@]}"; do
    echo "checking ${module}"
    bin/govulncheck -C "${module}" -db "${database}" ./... || result=1
  done
  return "${result}"
}

run_style() {
  go test -trimpath ./hack/style && go run -trimpath ./hack/style
}

run_shellcheck() {
  local scripts shellcheck
  mapfile -t scripts < <(git ls-files -- '*.sh' .ci/run ':!vendor')
  shellcheck=$(hack/debian-package.sh shellcheck shellcheck) || return
  "${shellcheck}/shellcheck" "${scripts[@]}"
}

check_variants() {
  go run -trimpath ./hack/variant check test/faults/mutants/*.txt test/e2e/*.txt
}

check "license headers" hack/verify-boilerplate.sh
check "style" run_style
check "shellcheck" run_shellcheck
check "variants" check_variants
check "govulncheck" run_govulncheck
check "golangci-lint" run_golangci_lint "$@"

if [[ ${#failed[@]} -gt 0 ]]; then
  echo "failed:$(printf ' %s,' "${failed[@]}" | sed 's/,$//')" >&2
  exit 1
fi
