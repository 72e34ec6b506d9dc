package app

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/flowcontrol"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	"github.com/kubeflow/ray-operator/pkg/controller"
)

// component is the operator's name in events and, with its version, to the API server.
const component = "ray-operator"

// Version is the operator's own version, which the linker sets. That of component-base is
// Kubernetes', by which its metrics decide what they show.
var Version = "unknown"

// Run runs the operator until ctx is done, and then returns nil once all that was begun
// is finished. Any error says in one line what is wrong.
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
		return fmt.Errorf("making a client: %w", err)
	}
	metrics, err := newMetricsEndpoint(options, clients.unfenced)
	if err != nil {
		return err
	}
	if err := checkServer(ctx, config.Host, clients, options); err != nil {
		return err
	}

	// What runs in the background outlives ctx, so that begun work can be finished.
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()

	recorder, stopEvents := newEvents(background, clients.kube)
	defer stopEvents()

	// The caches are full before the lease is won, so that a successor acts at once.
	informers := controller.NewInformers(clients.kube, clients.ray, options.scopes())
	rays, err := controller.New(clients.kube, clients.ray, informers, recorder, clock.RealClock{})
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
		return rays.Run(ctx, options.Workers)
	}
	if options.LeaderElection.LeaderElect {
		err = election.run(ctx, clients.unfenced.CoordinationV1(), work)
	} else {
		err = work(ctx)
	}
	if errors.Is(err, context.Canceled) {
		// Told to stop before there was anything to do.
		return nil
	}
	return err
}

// clients are how the operator talks to the API server.
type clients struct {
	// kube and ray are for the work. They write only while this replica leads.
	kube kubernetes.Interface
	ray  versioned.Interface
	// unfenced is for what a replica also needs when it does not lead, such as the lease.
	unfenced kubernetes.Interface
}

func newClients(config *rest.Config, election *election) (*clients, error) {
	// Protobuf costs both sides less than JSON, which is all that there is for Rays.
	builtIn := rest.CopyConfig(config)
	builtIn.ContentType = runtime.ContentTypeProtobuf
	builtIn.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	// Its requests are few, and must not wait for those of the work.
	unlimited := rest.CopyConfig(builtIn)
	unlimited.QPS = -1
	unfenced, err := kubernetes.NewForConfig(unlimited)
	if err != nil {
		return nil, err
	}
	if config.QPS > 0 {
		// One limit for both clients: each would have its own.
		limiter := flowcontrol.NewTokenBucketRateLimiter(config.QPS, config.Burst)
		builtIn.RateLimiter, config.RateLimiter = limiter, limiter
	}
	if election.config.LeaderElect {
		builtIn.Wrap(election.fence)
		config.Wrap(election.fence)
	}
	kube, err := kubernetes.NewForConfig(builtIn)
	if err != nil {
		return nil, err
	}
	ray, err := controller.NewRayClient(config)
	return &clients{kube: kube, ray: ray, unfenced: unfenced}, err
}

// newClientConfig returns how to reach the API server.
func newClientConfig(options *Options) (*rest.Config, error) {
	var config *rest.Config
	var err error
	if options.Kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", options.Kubeconfig)
	} else {
		config, err = rest.InClusterConfig()
	}
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, errors.New("this is no Pod of a cluster: say with --kubeconfig which cluster to serve")
	}
	if err != nil {
		return nil, fmt.Errorf("reading how to reach the API server: %w", err)
	}
	config.QPS, config.Burst = options.QPS, options.Burst
	// The API server is near, and what it would compress costs both sides more than to send it.
	config.DisableCompression = true
	config.UserAgent = component + "/" + Version
	return config, nil
}
