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

# Builds a release of the last commit twice, in clones in different directories, and tests it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
version=v0.0.0-test.1
image=registry.example/ray-operator
work=$(mktemp -d)
trap 'rm -rf "${work}"' EXIT

one=${work}/one
two=${work}/elsewhere/two
for clone in "${one}" "${two}"; do
  git clone --quiet "${root}" "${clone}"
  # The tools are shared. Only their output is compared.
  mkdir -p "${clone}/bin/cluster"
  ln -s "${root}/bin/cluster/kubectl" "${clone}/bin/cluster/kubectl"
  ln -s "${root}/bin/helm" "${clone}/bin/helm"
  make --no-print-directory -C "${clone}" -o bin/helm release VERSION="${version}" IMAGE_REPOSITORY="${image}"
done

# expect_error ERROR ARGUMENT... verifies that hack/release.sh fails with an error message.
expect_error() {
  local want=$1 got
  shift
  if got=$(cd "${one}" && hack/release.sh "$@" 2>&1); then
    echo "hack/release.sh $*: got no error, want \"${want}\"" >&2
    return 1
  fi
  [[ ${got} == *"${want}"* ]] || { echo "hack/release.sh $*: got \"${got}\", want \"${want}\"" >&2; return 1; }
}
for invalid in "" 1.2.3 v1.2 v1.2.3+build v01.2.3 v1.2.3-01 latest; do
  expect_error "must be a semantic version" "${invalid}"
done
expect_error "must not contain a tag" "${version}" registry.example/ray-operator:v1
git -C "${one}" tag v9.9.9 "$(git -C "${one}" commit-tree -m other 'HEAD^{tree}')"
expect_error "tag v9.9.9 exists at another commit" v9.9.9
touch "${one}/cmd/new.go"
expect_error "cmd/new.go" "${version}"

# Run the build command of the Dockerfile on the files that it copies.
image_dir=${work}/image
mkdir -p "${image_dir}/src"
read -ra copied < <(sed -n '/^FROM.*AS builder/,/^FROM/{s/^COPY \(.*\) .*$/\1/p}' Dockerfile | paste -sd ' ')
for path in "${copied[@]}"; do
  cp -R "${two}/${path}" "${image_dir}/src/"
done
command=$(sed -n '/^RUN /,/[^\\]$/{s/^RUN //;p}' Dockerfile)
for arch in amd64 arm64; do
  (cd "${image_dir}/src" && TARGETOS=linux TARGETARCH=${arch} VERSION=${version} \
    sh -euc "${command//-o \/ray-operator/-o ${image_dir}/ray-operator-${arch}}")
done

go test -trimpath ./test/release -count 1 -args -version "${version}" -helm "${root}/bin/helm" -image "${image}" \
  -one "${one}/dist/${version}" -two "${two}/dist/${version}" -image-dir "${image_dir}"
