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

# Verifies that hand-written source files have the license header of hack/boilerplate.go.txt.
#
#   hack/verify-boilerplate.sh [--fix] [FILE...]
#
# --fix adds missing headers: below the #! line of a script, below the build constraint of a Go
# file, and else at the top. Without FILE, all tracked files are checked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

go_header=$(<hack/boilerplate.go.txt)
# The same text as # comments, without the lines /* and */.
hash_header=$(sed '1d; $d; s/^/# /; s/ *$//' hack/boilerplate.go.txt)

# first_line FILE PREFIX prints the first line if it starts with PREFIX.
first_line() {
  local line
  IFS= read -r line <"$1" || true
  if [[ ${line} == "$2"* ]]; then printf '%s' "${line}"; fi
}

# check FILE succeeds if the file has the header, is generated, or was fixed.
check() {
  local file=$1 header=${hash_header} prefix='#!'
  if [[ ${file} == *.go ]]; then
    if grep -q '^// Code generated .* DO NOT EDIT\.$' "${file}"; then return; fi
    header=${go_header} prefix='//go:build '
  fi
  local top start=1
  top=$(first_line "${file}" "${prefix}")
  if [[ -n ${top} ]]; then
    start=2
    if [[ -z $(sed -n 2p "${file}") ]]; then start=3; fi
  fi
  if [[ $(tail -n +"${start}" "${file}" | head -n "$(wc -l <<<"${header}")") == "${header}" ]]; then return; fi

  if ! ${fix}; then
    echo "${file}: missing license header" >&2
    return 1
  fi
  {
    if [[ -n ${top} ]]; then printf '%s\n\n' "${top}"; fi
    printf '%s\n\n' "${header}"
    tail -n +"${start}" "${file}"
  } >"${temporary}"
  cat "${temporary}" >"${file}" # keeps the file mode
  echo "${file}: added license header"
}

main() {
  fix=false
  if [[ ${1:-} == --fix ]]; then
    fix=true
    shift
  fi
  local files=("$@") file missing=0
  if [[ ${#files[@]} -eq 0 ]]; then
    mapfile -t files < <(git ls-files -- '*.go' '*.sh' .ci/run '*Makefile' '*Dockerfile' ':!vendor' ':!:**/testdata/**')
  fi
  temporary=$(mktemp)
  trap 'rm -f "${temporary}"' EXIT
  for file in "${files[@]}"; do
    if [[ ! -f ${file} ]]; then continue; fi # deleted, but still in the index
    check "${file}" || missing=$((missing + 1))
  done
  if [[ ${missing} -gt 0 ]]; then
    echo "${missing} files have no license header: run hack/verify-boilerplate.sh --fix" >&2
    return 1
  fi
}

# On one line, since bash reads scripts line by line and --fix may modify this file.
main "$@"; exit
