package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	rayinformers "github.com/kubeflow/ray-operator/pkg/client/informers/externalversions"
)

// scene is a cluster, an operator that serves it, and somebody who watches.
type scene struct {
	root       string // of the repository
	kubeconfig string // of the cluster's administrator
	cluster    string // directory of the cluster, which has its logs and processes
	operator   operator

	machine    machine
	components map[string]int
	kube       kubernetes.Interface
	rays       versioned.Interface
	sample     *rayv1.Ray

	rayTracker        *tracker[*rayv1.Ray]
	deploymentTracker *tracker[*appsv1.Deployment]
}

func (s *scene) addFlags(flags *flag.FlagSet) {
	flags.StringVar(&s.root, "root", ".", "root of the repository")
	flags.StringVar(&s.kubeconfig, "kubeconfig", "", "kubeconfig of the cluster, as its administrator")
	flags.StringVar(&s.cluster, "cluster", "", "directory of the cluster that has its logs and pids")
	flags.StringVar(&s.operator.kubeconfig, "operator-kubeconfig", "", "kubeconfig for the operator")
	flags.StringVar(&s.operator.log, "operator-log", "", "file for the operator's log")
}

// auditLog is where the API server says what it was asked.
func (s *scene) auditLog() string { return filepath.Join(s.cluster, "logs", "audit.log") }

// open connects to the cluster, starts the operator there, and watches for Rays that are done.
func (s *scene) open(ctx context.Context, done func(*rayv1.Ray) bool) error {
	config, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1 // as fast as the server takes it
	config.UserAgent = loadProcess
	forKube := rest.CopyConfig(config)
	forKube.ContentType = runtime.ContentTypeProtobuf // cheaper, and this shares the machine
	if s.kube, err = kubernetes.NewForConfig(forKube); err != nil {
		return err
	}
	if s.rays, err = versioned.NewForConfig(config); err != nil {
		return err
	}
	if s.components, err = findComponents(s.cluster); err != nil {
		return err
	}
	if s.sample, err = readRay(filepath.Join(s.root, "manifests", "samples", "sample-cluster.yaml")); err != nil {
		return err
	}

	s.operator.binary = filepath.Join(s.root, "bin", "ray-operator")
	s.operator.manifest = filepath.Join(s.root, "manifests", "operator", "deployment.yaml")
	version, err := s.kube.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	if s.machine, err = describeMachine(ctx, s.operator.binary, version.GitVersion); err != nil {
		return err
	}
	if s.machine.Flags, _, err = s.operator.shipped(); err != nil {
		return err
	}

	s.rayTracker, s.deploymentTracker = newTracker(done), newTracker(complete)
	if err := s.rayTracker.watch(ctx, rayinformers.NewSharedInformerFactory(s.rays, 0).Ray().V1().Rays().TypedInformer()); err != nil {
		return err
	}
	if err := s.deploymentTracker.watch(ctx, informers.NewSharedInformerFactory(s.kube, 0).Apps().V1().Deployments().TypedInformer()); err != nil {
		return err
	}
	progress("starting the operator")
	return s.operator.start(ctx)
}

// readRay reads the manifest of a Ray.
func readRay(name string) (*rayv1.Ray, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	ray := &rayv1.Ray{}
	// Not strictly: the sample has a key that the types do not.
	if err := yaml.Unmarshal(data, ray); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return ray, nil
}

// progress tells what is being done: a measurement can take an hour.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
