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

package app

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/flowcontrol"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/kubeflow/ray-operator/pkg/autoscaler"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	"github.com/kubeflow/ray-operator/pkg/controller"
	"github.com/kubeflow/ray-operator/pkg/rayclient"
)

// component is the source of events and, with the version, the user agent, to which the autoscaler adds its name.
const component = "ray-operator"

// pollWorkers is the number of Rays that are polled concurrently. A poll takes a millisecond. Heads that do not answer
// occupy three workers at most. One that answers slowly, by intent or not, occupies a worker for a sixth of the time, with
// up to 24 MiB. So it takes 48 of them to delay the others.
const pollWorkers = 8

// Version is the version of the operator, set by the linker. The version in component-base is
// the version of Kubernetes, which decides which of its metrics are hidden.
var Version = "unknown"

// Run runs the operator until ctx is done, then finishes ongoing work and returns nil. Errors
// fit on one line.
func Run(ctx context.Context, options *Options) error {
	if err := logsapi.ValidateAndApply(options.Logging, nil); err != nil {
		return err
	}
	logger := klog.FromContext(ctx)
	logger.Info("Starting ray-operator", "version", Version)

	config, err := newClientConfig(options)
	if err != nil {
		return err
	}
	election := newElection(options.LeaderElection)
	clients, err := newClients(config, election)
	if err != nil {
		return fmt.Errorf("creating client: %w", err)
	}
	metrics, err := newMetricsEndpoint(options, clients.unfenced)
	if err != nil {
		return err
	}
	if err := checkServer(ctx, config.Host, clients, options); err != nil {
		return err
	}

	// Informers and event writers outlive ctx, so that ongoing work can finish.
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()

	recorder, stopEvents := newEvents(background, clients.kube)
	defer stopEvents()

	// Informers start before the lease is acquired, so that a new leader reconciles at once.
	informers := controller.NewInformers(clients.kube, clients.ray, options.scopes())
	var rays *controller.Controller
	scaler := autoscaler.New(informers, clients.autoscaler, func(ray cache.ObjectName) { rays.Enqueue(ray) }, clock.RealClock{})
	rays, err = controller.New(clients.kube, clients.ray, informers, scaler, recorder, clock.RealClock{})
	if err != nil {
		return err
	}
	informers.Start(background)

	registerMetrics(rays)
	stopServing, err := serve(ctx, newHealthEndpoint(options, election.check, informers.HasSynced), metrics)
	if err != nil {
		return err
	}
	defer stopServing()

	work := func(ctx context.Context) error {
		defer recorder.flush(ctx)
		return runWorkers(ctx, rays, scaler, options.Workers)
	}
	if options.LeaderElection.LeaderElect {
		err = election.run(ctx, clients.unfenced.CoordinationV1(), work)
	} else {
		err = work(ctx)
	}
	if errors.Is(err, context.Canceled) {
		// Shut down before any work started.
		return nil
	}
	return err
}

// runWorkers reconciles Rays with a number of workers and polls those that are autoscaled, until ctx is done.
func runWorkers(ctx context.Context, rays *controller.Controller, scaler *autoscaler.Autoscaler, workers int) error {
	var polls sync.WaitGroup
	defer polls.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	polls.Go(func() { scaler.Run(ctx, pollWorkers) })
	return rays.Run(ctx, workers)
}

// clients are the clients for the API server.
type clients struct {
	// kube and ray are used by the controller. They write only while this replica leads.
	kube kubernetes.Interface
	ray  versioned.Interface
	// autoscaler is kube with a user agent of its own, so that an audit log shows why Pods are listed.
	autoscaler kubernetes.Interface
	// unfenced also writes while this replica does not lead: leases and token reviews.
	unfenced kubernetes.Interface
}

func newClients(config *rest.Config, election *election) (*clients, error) {
	// Protobuf is cheaper than JSON for both sides. Custom resources support only JSON.
	builtIn := rest.CopyConfig(config)
	builtIn.ContentType = runtime.ContentTypeProtobuf
	builtIn.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	// Leader election sends few requests, which must not wait for those of the controller.
	unlimited := rest.CopyConfig(builtIn)
	unlimited.QPS = -1
	unfenced, err := kubernetes.NewForConfig(unlimited)
	if err != nil {
		return nil, err
	}
	if config.QPS > 0 {
		// Share one limit between both clients.
		limiter := flowcontrol.NewTokenBucketRateLimiter(config.QPS, config.Burst)
		builtIn.RateLimiter, config.RateLimiter = limiter, limiter
	}
	if election.config.LeaderElect {
		builtIn.Wrap(election.fence)
		config.Wrap(election.fence)
	}
	builtIn.Wrap(limitPodLists)
	kube, err := kubernetes.NewForConfig(builtIn)
	if err != nil {
		return nil, err
	}
	builtIn.UserAgent += "/autoscaler"
	scaler, err := kubernetes.NewForConfig(builtIn)
	if err != nil {
		return nil, err
	}
	ray, err := rayclient.New(config)
	return &clients{kube: kube, ray: ray, autoscaler: scaler, unfenced: unfenced}, err
}

// newClientConfig returns the configuration of clients, from a kubeconfig or the Pod.
func newClientConfig(options *Options) (*rest.Config, error) {
	var config *rest.Config
	var err error
	if options.Kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", options.Kubeconfig)
	} else {
		config, err = rest.InClusterConfig()
	}
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, errors.New("not running in a cluster: set --kubeconfig")
	}
	if err != nil {
		return nil, fmt.Errorf("loading client configuration: %w", err)
	}
	config.QPS, config.Burst = options.QPS, options.Burst
	// The API server is on a fast network, where compression costs more than it saves.
	config.DisableCompression = true
	config.UserAgent = component + "/" + Version
	return config, nil
}
