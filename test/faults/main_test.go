package faults

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	"github.com/kubeflow/ray-operator/test/audit"
)

// Flags that hack/faults.sh and hack/mutants.sh set.
//
// On an idle machine a Ray takes seconds. However, the Deployment controller limits all its retries
// to ten per second, and many cases cause retries, so that a Ray can be delayed by a minute.
var (
	root          = flag.String("root", "../..", "root of the repository")
	binary        = flag.String("operator", "../../bin/ray-operator", "binary of the operator")
	raceBinary    = flag.String("race-operator", "", "binary of the operator with the race detector, for some of the cases; not used if empty")
	kubeconfig    = flag.String("kubeconfig", "", "kubeconfig of the cluster's administrator")
	auditLog      = flag.String("audit-log", "", "audit log of the cluster, to compare with the proxies; not compared if empty")
	seed          = flag.Uint64("seed", 1, "seed of the order of the cases and of random delays")
	only          = flag.String("case", "", "run only this case")
	matching      = flag.String("cases", "", "run only the cases with names that match this regular expression")
	stepTimeout   = flag.Duration("step-timeout", 3*time.Minute, "timeout of a step of a case, such as reaching the end state")
	outageCluster = flag.String("outage-cluster", "", "run TestInfrastructure on the cluster of hack/cluster with this name, and stop its components; the kubeconfig must be in its directory")
	tenth         = flag.Bool("tenth", false, "run a fixed tenth of the cases")
)

// Clients of the administrator, and the configuration of the operators.
var (
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
	flag.Parse()
	if *kubeconfig != "" {
		if err := setUp(); err != nil {
			fmt.Fprintln(os.Stderr, "setting up:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// setUp installs the CRD and the RBAC manifests, and creates the clients.
func setUp() error {
	if *auditLog != "" {
		var err error
		if auditStart, err = audit.End(*auditLog); err != nil {
			return err
		}
	}
	kubectl := filepath.Join(*root, "bin", "cluster", "kubectl")
	for _, args := range [][]string{
		{"apply", "-k", filepath.Join(*root, "manifests", "crd")},
		{"apply", "-k", filepath.Join(*root, "manifests", "rbac")},
		{"wait", "--for=condition=Established", "--timeout=60s", "crd/rays.ray.kubeflow.org"},
	} {
		command := exec.Command(kubectl, append([]string{"--kubeconfig", *kubeconfig}, args...)...)
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("kubectl %v: %w: %s", args, err, out)
		}
	}

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1
	if kube, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if rays, err = versioned.NewForConfig(config); err != nil {
		return err
	}

	if *outageCluster != "" {
		if store, err = findEtcd(filepath.Dir(*kubeconfig), *outageCluster); err != nil {
			return fmt.Errorf("finding etcd: %w", err)
		}
	}

	// The operators have the shipped permissions.
	command := exec.Command(filepath.Join(*root, "hack", "operator-kubeconfig.sh"), kubectl)
	command.Env = append(os.Environ(), "KUBECONFIG="+*kubeconfig)
	data, err := command.Output()
	if err != nil {
		return fmt.Errorf("creating a kubeconfig for the operator: %w", err)
	}
	operatorConfig, err = clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		return err
	}
	malformed := malformedCases()
	if *outageCluster == "" && slices.ContainsFunc(malformed, func(c testCase) bool { return c.selected() }) {
		return storeMalformed()
	}
	return nil
}
