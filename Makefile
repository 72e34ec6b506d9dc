# Everything is built from Go modules: a machine needs Go, git, make and gcc.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
IMAGE ?= ray-operator:latest
IMAGE_REPOSITORY ?= ray-operator
LDFLAGS := -s -w -X github.com/kubeflow/ray-operator/cmd/ray-operator/app.Version=$(VERSION)

# Many people have KUBECONFIG in their environment. Only one that is given to make names the
# cluster for the demo.
DEMO := KUBECONFIG_ORIGIN='$(origin KUBECONFIG)' hack/demo.sh

# Modules beside the main one. What they need is not vendored.
TOOL_MODULES := hack/cluster hack/tools

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try it

.PHONY: demo
demo: ## Run the sample on a local cluster (or the one that KUBECONFIG=... names).
	@$(DEMO) up

.PHONY: demo-down
demo-down: ## Remove what demo has started.
	@$(DEMO) down

##@ Build

.PHONY: build
build: bin/ray-operator ## Build the operator.

.PHONY: bin/ray-operator
bin/ray-operator:
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/ray-operator

.PHONY: image
image: ## Build the container image IMAGE, with docker.
	docker build --build-arg VERSION=$(VERSION) --tag $(IMAGE) .

.PHONY: manifests
manifests: bin/cluster/kubectl ## Render the installation into one file, bin/install.yaml.
	bin/cluster/kubectl kustomize manifests/default >bin/install.yaml
	@echo "wrote bin/install.yaml"

bin/cluster/kubectl:
	go run -C hack/cluster . build

bin/helm: hack/helm/go.mod
	CGO_ENABLED=0 go build -C hack/helm -trimpath -o ../../bin/helm helm.sh/helm/v4/cmd/helm

.PHONY: release
release: bin/cluster/kubectl bin/helm ## Write the release VERSION=v1.2.3 into dist (IMAGE_REPOSITORY=... names the image).
	@hack/release.sh '$(VERSION)' '$(IMAGE_REPOSITORY)'

##@ Develop

.PHONY: codegen
codegen: ## Generate what is made from the types: clients, deepcopy functions, the CRD; and from the alerts: the PrometheusRule.
	hack/update-codegen.sh

.PHONY: verify-codegen
verify-codegen: ## Fail if anything generated is stale.
	hack/verify-codegen.sh

.PHONY: update-golden
update-golden: ## Write the golden files of what a Ray becomes.
	go test -trimpath ./pkg/resources -run TestRendering -update

.PHONY: lint
lint: ## Lint all modules.
	hack/lint.sh

##@ Test

.PHONY: test
test: test-unit test-e2e ## Run the unit tests, the end-to-end tests and a tenth of the fault suite.
	$(MAKE) test-faults TENTH=1

.PHONY: test-unit
test-unit: ## Run the unit tests.
	KUBE_CACHE_MUTATION_DETECTOR=true go test -trimpath -race ./cmd/... ./pkg/... ./test/audit ./test/load ./test/faults/...
	@for module in $(TOOL_MODULES); do (cd $$module && go test -trimpath ./...) || exit 1; done

.PHONY: test-e2e
test-e2e: bin/ray-operator ## Run the end-to-end tests on a local cluster of their own.
	hack/e2e.sh $(E2E_FLAGS)

.PHONY: test-faults
test-faults: bin/ray-operator ## Make one thing go wrong everywhere (TENTH=1 for a tenth; CASE=... SEED=... repeats one).
	hack/faults.sh $(if $(TENTH),--tenth) $(if $(SEED),--seed $(SEED)) $(if $(CASE),--case $(CASE))

.PHONY: fuzz
fuzz: ## Fuzz what the operator makes of a Ray, with FUZZ=10000000x inputs or for FUZZ=5m.
	hack/fuzz.sh $(or $(FUZZ),5m)

.PHONY: bench
bench: bin/ray-operator ## Measure what N=100,1000 Rays cost (PODS=off for none of their Pods, REST=10m to watch longer).
	hack/bench.sh $(if $(N),--rays $(N)) $(if $(filter off,$(PODS)),--no-pods) $(if $(REST),--rest $(REST)) $(OPERATOR_FLAGS)

.PHONY: test-monitoring
test-monitoring: bin/ray-operator ## Test the alerts and the dashboard with Prometheus, on a local cluster of their own.
	hack/monitoring.sh $(MONITORING_FLAGS)

.PHONY: dashboard-picture
dashboard-picture: bin/ray-operator ## Draw the dashboard, from real data, into docs/dashboard.svg.
	hack/monitoring.sh --picture docs/dashboard.svg -run TestMonitoring

.PHONY: bench-go
bench-go: ## Time the parts of a sync, and count their allocations (BENCH_FLAGS='-count 10' for benchstat).
	go test -trimpath -run '^$$' -bench . $(BENCH_FLAGS) ./pkg/controller ./pkg/resources

.PHONY: test-chart
test-chart: bin/cluster/kubectl bin/helm ## Install the Helm chart on a local cluster, and compare it with the manifests.
	hack/test-chart.sh

.PHONY: test-release
test-release: bin/cluster/kubectl bin/helm ## Make a release of this commit twice, and look at it.
	hack/test-release.sh

.PHONY: test-mutants
test-mutants: ## Show that test-faults finds defects that were made on purpose.
	hack/mutants.sh

.PHONY: clean
clean: ## Remove what was built.
	rm -rf bin dist
