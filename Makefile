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

# All tools are built from Go modules. Requirements: Go, git, make and gcc.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
IMAGE ?= ray-operator:latest
IMAGE_REPOSITORY ?= ray-operator
LDFLAGS := -s -w -X github.com/kubeflow/ray-operator/cmd/ray-operator/app.Version=$(VERSION)

# The demo ignores KUBECONFIG from the environment, so that it does not change a cluster by accident.
# Only `make demo KUBECONFIG=...` selects a cluster.
DEMO := KUBECONFIG_ORIGIN='$(origin KUBECONFIG)' hack/demo.sh

# Additional modules. Their dependencies are not vendored.
TOOL_MODULES := hack/cluster hack/tools

# Packages with unit tests that need no cluster.
UNIT_PACKAGES := ./cmd/... ./pkg/... ./hack/style ./hack/variant ./test/audit ./test/load ./test/internal/...

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Demo

.PHONY: demo
demo: ## Run the sample on a local cluster (KUBECONFIG=... for an existing cluster).
	@$(DEMO) up

.PHONY: demo-down
demo-down: ## Delete the demo and its local cluster.
	@$(DEMO) down

.PHONY: demo-ray
demo-ray: ## Run real Ray on a local cluster with a real node (Linux, root), and a Ray job on it.
	@hack/demo-ray.sh up

.PHONY: demo-ray-down
demo-ray-down: ## Delete the demo with real Ray and its local cluster.
	@hack/demo-ray.sh down

##@ Build

.PHONY: build
build: bin/ray-operator ## Build the operator.

.PHONY: bin/ray-operator
bin/ray-operator:
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/ray-operator

.PHONY: image
image: ## Build the container image with docker (IMAGE=...).
	docker build --build-arg VERSION=$(VERSION) --tag $(IMAGE) .

.PHONY: manifests
manifests: bin/cluster/kubectl ## Render manifests/default into bin/install.yaml.
	bin/cluster/kubectl kustomize manifests/default >bin/install.yaml
	@echo "wrote bin/install.yaml"

bin/cluster/kubectl:
	go run -C hack/cluster . build

bin/helm: hack/helm/go.mod
	CGO_ENABLED=0 go build -C hack/helm -trimpath -o ../../bin/helm helm.sh/helm/v4/cmd/helm

.PHONY: release
release: bin/cluster/kubectl bin/helm ## Build a release in dist (VERSION=v1.2.3 IMAGE_REPOSITORY=...).
	@hack/release.sh '$(VERSION)' '$(IMAGE_REPOSITORY)'

##@ Development

.PHONY: codegen
codegen: ## Generate deepcopy functions, clients, the CRD and the PrometheusRule.
	hack/update-codegen.sh

.PHONY: verify-codegen
verify-codegen: ## Verify that generated files are up to date.
	hack/verify-codegen.sh

.PHONY: update-golden
update-golden: ## Update the golden files of the rendered objects.
	go test -trimpath ./pkg/resources -run TestRendering -update

.PHONY: lint
lint: ## Run linters on all modules.
	hack/lint.sh

##@ Tests

.PHONY: test
test: test-unit test-e2e ## Run the unit tests, the end-to-end tests and a tenth of the fault-injection suite.
	$(MAKE) test-faults TENTH=1

.PHONY: test-unit
test-unit: ## Run the unit tests with the race detector.
	KUBE_CACHE_MUTATION_DETECTOR=true go test -trimpath -race $(UNIT_PACKAGES) ./test/faults/...
	@for module in $(TOOL_MODULES); do (cd $$module && go test -trimpath ./...) || exit 1; done

.PHONY: test-fast
test-fast: ## Run the unit tests in short mode (under a minute when the build cache is warm).
	go test -trimpath -short $(UNIT_PACKAGES)

.PHONY: test-e2e
test-e2e: bin/ray-operator ## Run the end-to-end tests on a temporary local cluster.
	hack/e2e.sh $(E2E_FLAGS)

.PHONY: test-ray
test-ray: bin/ray-operator ## Run the tests with real Ray on a local cluster with a real node (Linux, root; RAY_FLAGS='-run TestHeadLoss').
	go test -C hack/cluster -trimpath -count 1 -run TestRealNode . -real-node
	hack/ray.sh $(RAY_FLAGS)

.PHONY: test-faults
test-faults: bin/ray-operator ## Run the fault-injection suite (TENTH=1 for a tenth; CASE=... SEED=... repeats one case).
	hack/faults.sh $(if $(TENTH),--tenth) $(if $(SEED),--seed $(SEED)) $(if $(CASE),--case $(CASE))

.PHONY: fuzz
fuzz: ## Fuzz the controller with generated Rays, and autoscaling with replies of a GCS (FUZZ=5m for a duration, FUZZ=10000000x for a number of inputs).
	hack/fuzz.sh $(or $(FUZZ),5m)

.PHONY: bench
bench: bin/ray-operator ## Measure resource usage with N=100,1000 Rays (PODS=off without Pods, REST=10m of steady state; AUTOSCALED=1000 for autoscaled ones).
	hack/bench.sh $(if $(N),--rays $(N)) $(if $(AUTOSCALED),--autoscaled $(AUTOSCALED)) $(if $(filter off,$(PODS)),--no-pods) $(if $(REST),--rest $(REST)) $(OPERATOR_FLAGS)

.PHONY: test-monitoring
test-monitoring: bin/ray-operator ## Test the alerts and the dashboard with Prometheus on a temporary local cluster.
	hack/monitoring.sh $(MONITORING_FLAGS)

.PHONY: dashboard-picture
dashboard-picture: bin/ray-operator ## Render the dashboard with measured data into docs/dashboard.svg.
	hack/monitoring.sh --picture docs/dashboard.svg -run TestMonitoring

.PHONY: bench-go
bench-go: ## Run the Go benchmarks (BENCH_FLAGS='-count 10' for benchstat).
	go test -trimpath -run '^$$' -bench . $(BENCH_FLAGS) ./pkg/controller ./pkg/resources

.PHONY: test-chart
test-chart: bin/ray-operator bin/cluster/kubectl bin/helm ## Test the Helm chart on a temporary local cluster.
	hack/test-chart.sh

.PHONY: test-release
test-release: bin/cluster/kubectl bin/helm ## Build a release of the last commit twice and test it.
	hack/test-release.sh

.PHONY: test-mutants
test-mutants: ## Run mutation testing: check that the fault suite catches known bugs.
	hack/mutants.sh

.PHONY: clean
clean: ## Delete build output.
	rm -rf bin dist
