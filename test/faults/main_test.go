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

// Where things are, as hack/faults.sh says, and which cases to run.
//
// A Ray takes seconds on an idle machine. But all that the Deployment controller has to try again
// shares ten tries a second, and many cases make it try again: so one may wait for a minute.
var (
	root       = flag.String("root", "../..", "root of the repository")
	binary     = flag.String("operator", "../../bin/ray-operator", "the operator to run")
	raceBinary = flag.String("race-operator", "", "the operator built with the race detector, for some of the cases; empty means none")
	kubeconfig = flag.String("kubeconfig", "", "kubeconfig of the cluster, as its administrator")
	auditLog   = flag.String("audit-log", "", "audit log of the cluster; empty means that nobody compares it with the proxies")
	seed       = flag.Uint64("seed", 1, "the order of the cases follows from it")
	only       = flag.String("case", "", "run this case only")
	matching   = flag.String("cases", "", "run the cases whose name matches this regular expression only")
	patience   = flag.Duration("patience", 3*time.Minute, "how long a Ray may take to be as wanted")
	breakable  = flag.String("breakable", "", "name of the cluster of hack/cluster, if its components may be killed; its kubeconfig is in its directory")
	tenth      = flag.Bool("tenth", false, "run a fixed tenth of the cases")
)

// The cluster, as its administrator, and as operators reach it.
var (
	kube           kubernetes.Interface
	rays           versioned.Interface
	operatorConfig *rest.Config
)

// auditStart is where the audit log of the suite begins.
var auditStart audit.Mark

// quietWindow is how long an operator that has finished must not write. It is longer than
// it puts off telling progress.
const quietWindow = 2200 * time.Millisecond

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

// setUp installs what an administrator would, and makes the clients.
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

	if *breakable != "" {
		if store, err = findEtcd(filepath.Dir(*kubeconfig), *breakable); err != nil {
			return fmt.Errorf("finding etcd: %w", err)
		}
	}

	// The operators have the rights that they ship with.
	command := exec.Command(filepath.Join(*root, "hack", "operator-kubeconfig.sh"), kubectl)
	command.Env = append(os.Environ(), "KUBECONFIG="+*kubeconfig)
	data, err := command.Output()
	if err != nil {
		return fmt.Errorf("making a kubeconfig for the operator: %w", err)
	}
	operatorConfig, err = clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		return err
	}
	malformed := malformedCases()
	if *breakable == "" && slices.ContainsFunc(malformed, func(c testCase) bool { return c.selected() }) {
		return storeMalformed()
	}
	return nil
}
