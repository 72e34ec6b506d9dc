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

# Builds a release in dist/VERSION: binaries, their SBOMs, manifests, the Helm chart and checksums.
# Builds of the same commit with the same Go version are reproducible.
#
#   hack/release.sh VERSION [IMAGE_REPOSITORY]
#
# VERSION is a semantic version such as v1.2.3 or v1.2.3-rc.1. IMAGE_REPOSITORY is the image in the
# manifests and the chart, without a tag.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=${1:-}
repository=${2:-ray-operator}

fail() {
  echo "release: $*" >&2
  exit 1
}

# Semantic versioning without build metadata: image tags cannot contain +.
number='(0|[1-9][0-9]*)'
identifier='(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)'
if ! [[ ${version} =~ ^v${number}\.${number}\.${number}(-${identifier}(\.${identifier})*)?$ ]]; then
  fail "invalid VERSION \"${version}\": must be a semantic version such as v1.2.3 or v1.2.3-rc.1"
fi
if [[ ${repository##*/} == *[:@]* ]]; then
  fail "invalid IMAGE_REPOSITORY \"${repository}\": must not contain a tag or digest, VERSION is the tag"
fi
changed=$(git status --porcelain)
if [[ -n ${changed} ]]; then
  fail "uncommitted changes; commit or remove them:"$'\n'"${changed}"
fi
if tagged=$(git rev-parse --quiet --verify "refs/tags/${version}^{commit}") && [[ ${tagged} != "$(git rev-parse HEAD)" ]]; then
  fail "tag ${version} exists at another commit, ${tagged}"
fi

# The environment must not affect the builds.
unset GOFLAGS GOEXPERIMENT GOAMD64 GOARM64 GOFIPS140
export CGO_ENABLED=0 GOWORK=off LC_ALL=C TZ=UTC
umask 022

mkdir -p dist
stage=$(mktemp -d dist/stage.XXXXXX)
trap 'rm -rf "${stage}"' EXIT
out=${stage}/release
mkdir "${out}"

build_binaries() {
  local arch binary
  go build -C hack/tools -trimpath -o "${PWD}/bin/" ./sbom
  for arch in amd64 arm64; do
    binary=${out}/ray-operator-${version}-linux-${arch}
    # The same flags as in the Dockerfile. Without VCS stamping, the output depends only on the source.
    GOENV=off GOFLAGS=-mod=vendor GOOS=linux GOARCH=${arch} go build -trimpath -buildvcs=false \
      -ldflags "-s -w -X github.com/kubeflow/ray-operator/cmd/ray-operator/app.Version=${version}" \
      -o "${binary}" ./cmd/ray-operator
    bin/sbom -version "${version}" "${binary}" >"${binary}.cdx.json"
  done
}

# render DIRECTORY... renders directories of manifests with the image of the release.
render() {
  cat >"${stage}/kustomization.yaml" <<YAML
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [$(printf '../../manifests/%s, ' "$@")]
images: [{name: ray-operator, newName: "${repository}", newTag: "${version}"}]
YAML
  bin/cluster/kubectl kustomize "${stage}"
}

render_manifests() {
  render default >"${out}/install.yaml"
  render crd >"${out}/crd.yaml"
  # Without the CustomResourceDefinition, for downgrades (docs/upgrading.md).
  render policy rbac operator network >"${out}/operator.yaml"
}

package_chart() {
  local chart=${stage}/ray-operator
  # Replace the links in files with the files.
  cp -RL manifests/chart "${chart}"
  sed -i "s|^  repository: ray-operator$|  repository: ${repository}|" "${chart}/values.yaml"
  bin/helm package "${chart}" --version "${version#v}" --app-version "${version}" --destination "${stage}" >/dev/null
  # Helm writes the current time into the archive. Use the time of the commit instead.
  mkdir "${stage}/packaged"
  tar -xzf "${stage}/ray-operator-${version#v}.tgz" -C "${stage}/packaged"
  tar -c -C "${stage}/packaged" --format=ustar --sort=name --mtime="@$(git log -1 --format=%ct)" \
    --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX ray-operator \
    | gzip -9 --no-name >"${out}/ray-operator-${version#v}.tgz"
}

build_binaries
render_manifests
package_chart
(cd "${out}" && sha256sum -- * >../SHA256SUMS && mv ../SHA256SUMS .)
rm -rf "dist/${version}"
mv "${out}" "dist/${version}"
echo "wrote dist/${version}"
