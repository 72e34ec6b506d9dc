/*
Copyright 2026 The ray-operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package faults

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	"github.com/kubeflow/ray-operator/test/audit"
	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// Flags that hack/faults.sh and hack/mutants.sh set.
//
// On an idle machine a Ray takes seconds. However, the Deployment controller limits all its retries
// to ten per second, and many cases cause retries, so that a Ray can be delayed by a minute.
var (
	binary        = flag.String("operator", "../../bin/ray-operator", "binary of the operator")
	raceBinary    = flag.String("race-operator", "", "binary of the operator with the race detector, for some of the cases; not used if empty")
	auditLog      = flag.String("audit-log", "", "audit log of the cluster, to compare with the proxies; not compared if empty")
	seed          = flag.Uint64("seed", 1, "seed of the order of the cases and of random delays")
	only          = flag.String("case", "", "run only this case")
	matching      = flag.String("cases", "", "run only the cases with names that match this regular expression")
	stepTimeout   = flag.Duration("step-timeout", 3*time.Minute, "timeout of a step of a case, such as reaching the end state")
	outageCluster = flag.String("outage-cluster", "", "run TestInfrastructure on the cluster of hack/cluster with this name, and stop its components; the kubeconfig must be in its directory")
	tenth         = flag.Bool("tenth", false, "run a fixed tenth of the cases")
)

// The cluster, clients of its administrator, and the configuration of the operators.
var (
	cluster        harness.Cluster
	root           = &cluster.Root
	kubeconfig     = &cluster.Kubeconfig
	kube           kubernetes.Interface
	rays           versioned.Interface
	operatorConfig *rest.Config
)

// auditStart is the start of the suite in the audit log.
var auditStart audit.Mark

// idleWindow is how long an operator must make no requests to be in a steady state. It is longer
// than the operator delays a status update.
const idleWindow = 2200 * time.Millisecond

func TestMain(m *testing.M) {
	cluster.AddFlags(flag.CommandLine)
	harness.ParseFlags("test-faults")
	if *kubeconfig != "" {
		if err := setUp(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "setting up:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// setUp creates the clients, and installs the CRD and the RBAC manifests.
func setUp(ctx context.Context) error {
	if *auditLog != "" {
		var err error
		if auditStart, err = audit.End(*auditLog); err != nil {
			return err
		}
	}
	if err := cluster.Connect(); err != nil {
		return err
	}
	if err := cluster.Install(ctx, "crd", "rbac"); err != nil {
		return err
	}
	kube, rays = cluster.Kube, cluster.Rays

	if *outageCluster != "" {
		var err error
		if store, err = findEtcd(filepath.Dir(*kubeconfig), *outageCluster); err != nil {
			return fmt.Errorf("finding etcd: %w", err)
		}
	}

	// The operators have the shipped permissions.
	data, err := cluster.OperatorKubeconfig(ctx)
	if err != nil {
		return err
	}
	if operatorConfig, err = clientcmd.RESTConfigFromKubeConfig(data); err != nil {
		return err
	}
	malformed := malformedCases()
	if *outageCluster == "" && slices.ContainsFunc(malformed, func(c testCase) bool { return c.selected() }) {
		return storeMalformed(ctx)
	}
	return nil
}
