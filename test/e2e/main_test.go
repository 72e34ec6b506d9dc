// Package e2e tests the operator as a user meets it: the shipped binary, with the rights
// that it ships with, against a real API server and real controllers, through kubectl.
// Only kubelets are simulated. hack/e2e.sh starts the cluster and runs the tests.
//
// Every test has a namespace of its own, so that they run in parallel. Those which stop
// the operator, or change what the whole cluster has in common, do not.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
)

// Where things are, as hack/e2e.sh says.
var (
	root       = flag.String("root", "../..", "root of the repository")
	kubeconfig = flag.String("kubeconfig", "", "kubeconfig of the cluster, as its administrator")
	auditLog   = flag.String("audit-log", "", "audit log of the API server")
)

// The cluster under test, and the operator that serves it.
var (
	kube     kubernetes.Interface
	rays     versioned.Interface
	operator *process
)

// patience is how long a test waits for something that has to happen. It takes well under
// a second on an idle machine.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if *kubeconfig == "" {
		fmt.Fprintln(os.Stderr, "these tests need a cluster: run make test-e2e")
		return 1
	}
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, "setting up:", err)
		return 1
	}
	code := m.Run()
	operator.stop()
	if code != 0 {
		fmt.Printf("log of the operator: %s\n", operator.log)
	}
	return code
}

// setUp installs the operator as an administrator would, and starts it outside the
// cluster as the ServiceAccount that it has inside.
func setUp() error {
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	// Tests look often, and what they look at is not what is measured.
	config.QPS = -1
	if kube, err = kubernetes.NewForConfig(rest.CopyConfig(config)); err != nil {
		return err
	}
	if rays, err = versioned.NewForConfig(config); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"apply", "-k", path("manifests/crd")},
		{"apply", "-k", path("manifests/policy")},
		{"apply", "-k", path("manifests/rbac")},
		{"wait", "--for=condition=Established", "--timeout=60s", "crd/rays.ray.kubeflow.org"},
	} {
		if out := runKubectl(context.Background(), "", args...); out.err != nil {
			return fmt.Errorf("kubectl %v: %w: %s", args, out.err, out.stderr)
		}
	}
	if operator, err = newProcess("operator"); err != nil {
		return err
	}
	return operator.start()
}

// path returns a path of the repository.
func path(name string) string { return filepath.Join(*root, name) }
