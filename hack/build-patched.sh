#!/usr/bin/env bash
# Builds the operator, or the tests of a package, with a patch. The work tree is not changed: a
# build overlay replaces the patched files.
#
#   hack/build-patched.sh PATCH BINARY [PACKAGE]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
patch=$(realpath "$1")
binary=$2
tree=$(mktemp -d)
trap 'rm -rf "${tree}"' EXIT

replaced=()
while read -r file; do
  install -D "${file}" "${tree}/${file}"
  replaced+=("\"${PWD}/${file}\": \"${tree}/${file}\"")
done < <(sed -n 's|^+++ b/||p' "${patch}")
(cd "${tree}" && git apply "${patch}")
(IFS=, && printf '{"Replace": {%s}}' "${replaced[*]}") >"${tree}/overlay.json"
build=(build) what=./cmd/ray-operator
if [[ -n ${3:-} ]]; then build=(test -c) what=$3; fi
CGO_ENABLED=0 go "${build[@]}" -trimpath -overlay "${tree}/overlay.json" -o "${binary}" "${what}"
