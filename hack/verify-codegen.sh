#!/usr/bin/env bash
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
