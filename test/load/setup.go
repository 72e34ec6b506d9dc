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
	"sigs.k8s.io/yaml"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	rayinformers "github.com/kubeflow/ray-operator/pkg/client/informers/externalversions"
	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// setup is a cluster with an operator, and watches that measure times.
type setup struct {
	cluster    harness.Cluster
	clusterDir string // Has the logs and the process IDs.
	operator   operator

	machine    machine
	components map[string]int
	sample     *rayv1.Ray

	rayTracker        *tracker[*rayv1.Ray]
	deploymentTracker *tracker[*appsv1.Deployment]
}

func (s *setup) addFlags(flags *flag.FlagSet) {
	flags.StringVar(&s.cluster.Root, "root", ".", "root of the repository")
	flags.StringVar(&s.cluster.Kubeconfig, "kubeconfig", "", "path of the cluster administrator's kubeconfig")
	flags.StringVar(&s.clusterDir, "cluster", "", "directory with the logs and process IDs of the cluster")
	flags.StringVar(&s.operator.kubeconfig, "operator-kubeconfig", "", "path of the operator's kubeconfig")
	flags.StringVar(&s.operator.log, "operator-log", "", "path of the operator's log")
}

// auditLog returns the path of the API server's audit log.
func (s *setup) auditLog() string { return filepath.Join(s.clusterDir, "logs", "audit.log") }

// open connects to the cluster, starts the watches and the operator. A Ray is measured until done
// returns true.
func (s *setup) open(ctx context.Context, done func(*rayv1.Ray) bool) error {
	config, err := s.cluster.Config()
	if err != nil {
		return err
	}
	config.UserAgent = loadProcess
	forKube := rest.CopyConfig(config)
	forKube.ContentType = runtime.ContentTypeProtobuf // This program shares the machine, and protobuf needs less CPU.
	if s.cluster.Kube, err = kubernetes.NewForConfig(forKube); err != nil {
		return err
	}
	if s.cluster.Rays, err = versioned.NewForConfig(config); err != nil {
		return err
	}
	if s.components, err = findComponents(s.clusterDir); err != nil {
		return err
	}
	if s.sample, err = readRay(s.cluster.Path("manifests/samples/sample-cluster.yaml")); err != nil {
		return err
	}

	s.operator.binary = s.cluster.Path("bin/ray-operator")
	s.operator.manifest = s.cluster.Path("manifests/operator/deployment.yaml")
	version, err := s.cluster.Kube.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	if s.machine, err = describeMachine(ctx, s.operator.binary, version.GitVersion); err != nil {
		return err
	}
	if s.machine.Flags, _, err = s.operator.deployed(); err != nil {
		return err
	}

	s.rayTracker, s.deploymentTracker = newTracker(done), newTracker(complete)
	if err := s.rayTracker.watch(ctx, rayinformers.NewSharedInformerFactory(s.cluster.Rays, 0).Ray().V1().Rays().TypedInformer()); err != nil {
		return err
	}
	if err := s.deploymentTracker.watch(ctx, informers.NewSharedInformerFactory(s.cluster.Kube, 0).Apps().V1().Deployments().TypedInformer()); err != nil {
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
	// Not strict, since the sample has a field that the types do not have.
	if err := yaml.Unmarshal(data, ray); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", name, err)
	}
	return ray, nil
}

// progress prints the current step, since a measurement can take an hour.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
