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

# Fails if generated files are out of date.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

generated=(pkg/client 'pkg/apis/*/zz_generated*' manifests/crd manifests/monitoring/prometheus_rule.yaml)
hack/update-codegen.sh
if [[ -n "$(git status --porcelain -- "${generated[@]}")" ]]; then
  git --no-pager diff -- "${generated[@]}" | head -50
  git status --short -- "${generated[@]}"
  echo "generated files are out of date: run hack/update-codegen.sh and commit the changes" >&2
  exit 1
fi
echo "generated files are up to date"
