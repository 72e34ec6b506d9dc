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

// Package harness is what the tests that run on a local cluster have in common: flags, clients,
// kubectl, and the operator as a process. The scripts in hack start the cluster and set the flags.
package harness

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
)

// ParseFlags parses the command line. If a required flag is missing, as with a plain
// "go test ./...", it exits and names the make target that runs the tests.
func ParseFlags(target string, required ...string) {
	flag.Parse()
	for _, name := range required {
		if flag.Lookup(name).Value.String() == "" {
			fmt.Fprintf(os.Stderr, "flag -%s is not set: run make %s\n", name, target)
			os.Exit(1)
		}
	}
}

// Cluster is the cluster under test, and the checkout of the repository that is tested on it.
type Cluster struct {
	// Root is the root of the repository.
	Root string
	// Kubeconfig is the path of the administrator's kubeconfig.
	Kubeconfig string
	// Kube and Rays are clients of the administrator, set by Connect.
	Kube kubernetes.Interface
	Rays versioned.Interface
}

// AddFlags adds the flags -root and -kubeconfig.
func (c *Cluster) AddFlags(flags *flag.FlagSet) {
	flags.StringVar(&c.Root, "root", "../..", "root of the repository")
	flags.StringVar(&c.Kubeconfig, "kubeconfig", "", "path of the cluster administrator's kubeconfig")
}

// Path returns the path of a file of the repository.
func (c *Cluster) Path(name string) string { return filepath.Join(c.Root, filepath.FromSlash(name)) }

// Config returns a configuration for clients of the administrator, without a rate limit and without
// logging warnings.
func (c *Cluster) Config() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	config.WarningHandlerWithContext = rest.NoWarnings{}
	return config, nil
}

// Connect sets the clients.
func (c *Cluster) Connect() error {
	config, err := c.Config()
	if err != nil {
		return err
	}
	if c.Kube, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	c.Rays, err = versioned.NewForConfig(config)
	return err
}

// Install applies directories of manifests, such as "crd", and waits until the API server serves Rays. It requires the
// clients of Connect.
func (c *Cluster) Install(ctx context.Context, directories ...string) error {
	for _, directory := range directories {
		if out := c.Kubectl(ctx, "", "apply", "-k", c.Path("manifests/"+directory)); out.Err != nil {
			return out.Err
		}
	}
	// kubectl wait fails if the CustomResourceDefinition has no conditions yet.
	var err error
	if wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err = c.Rays.RayV1().Rays("").List(ctx, metav1.ListOptions{Limit: 1})
		return err == nil, nil
	}) != nil {
		return fmt.Errorf("the API server does not serve Rays: %w", err)
	}
	return nil
}

// Output is the output of a command.
type Output struct {
	Stdout, Stderr string
	// Err names the command and has its output, unless the command succeeded.
	Err error
}

// Run runs a command on the cluster. A script finds kubectl in its $PATH.
func (c *Cluster) Run(ctx context.Context, stdin, name string, args ...string) Output {
	command := exec.CommandContext(ctx, name, args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "PATH="+c.Path("bin/cluster")+string(os.PathListSeparator)+os.Getenv("PATH"))
	command.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err, &stdout, &stderr)
	}
	return Output{stdout.String(), stderr.String(), err}
}

// Kubectl runs kubectl as the administrator.
func (c *Cluster) Kubectl(ctx context.Context, stdin string, args ...string) Output {
	return c.Run(ctx, stdin, c.Path("bin/cluster/kubectl"), args...)
}

// OperatorKubeconfig returns a kubeconfig with the permissions of the operator's ServiceAccount.
func (c *Cluster) OperatorKubeconfig(ctx context.Context) ([]byte, error) {
	out := c.Run(ctx, "", c.Path("hack/operator-kubeconfig.sh"), c.Path("bin/cluster/kubectl"))
	if out.Err != nil {
		return nil, fmt.Errorf("creating a kubeconfig for the operator: %w", out.Err)
	}
	return []byte(out.Stdout), nil
}
