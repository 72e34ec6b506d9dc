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

# Generates code from the types in pkg/apis (deepcopy functions, apply configurations, clientset,
# listers, informers and the CRD) and the PrometheusRule from the alerting rules. The generators
# are tools of go.mod and hack/tools/go.mod, which pin their versions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Share the build cache between checkouts in different directories.
export GOFLAGS="${GOFLAGS:-} -trimpath"

module=github.com/kubeflow/ray-operator
api=${module}/pkg/apis/ray/v1
client=${module}/pkg/client
header=hack/boilerplate.go.txt

# Remove generated files of types that no longer exist.
rm -rf pkg/client pkg/apis/ray/v1/zz_generated.deepcopy.go

echo "generating deepcopy"
go tool deepcopy-gen --go-header-file "${header}" --output-file zz_generated.deepcopy.go "${api}"

echo "generating apply configurations"
go tool applyconfiguration-gen --go-header-file "${header}" \
  --output-dir pkg/client/applyconfiguration --output-pkg "${client}/applyconfiguration" "${api}"

echo "generating clientset"
go tool client-gen --go-header-file "${header}" \
  --clientset-name versioned --input-base "" --input "${api}" \
  --apply-configuration-package "${client}/applyconfiguration" \
  --output-dir pkg/client/clientset --output-pkg "${client}/clientset"

echo "generating listers"
go tool lister-gen --go-header-file "${header}" \
  --output-dir pkg/client/listers --output-pkg "${client}/listers" "${api}"

echo "generating informers"
go tool informer-gen --go-header-file "${header}" \
  --versioned-clientset-package "${client}/clientset/versioned" --listers-package "${client}/listers" \
  --output-dir pkg/client/informers --output-pkg "${client}/informers" "${api}"

echo "generating the CRD"
mkdir -p manifests/crd bin
go build -C hack/tools -o ../../bin/ sigs.k8s.io/controller-tools/cmd/controller-gen ./shortcrd
bin/controller-gen crd:generateEmbeddedObjectMeta=true paths="./pkg/apis/..." output:stdout \
  | bin/shortcrd >manifests/crd/ray.kubeflow.org_rays.yaml

echo "generating the PrometheusRule"
{
  cat <<'YAML'
# Code generated from rules.yaml by hack/update-codegen.sh. DO NOT EDIT.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: ray-operator
  namespace: ray-system
  labels:
    app.kubernetes.io/name: ray-operator
spec:
YAML
  sed '/^#/d; s/^./  &/' manifests/monitoring/rules.yaml
} >manifests/monitoring/prometheus_rule.yaml
