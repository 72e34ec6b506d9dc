package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	componentbaseconfig "k8s.io/component-base/config"
	"k8s.io/klog/v2"
)

// stuckTimeout is how long after its lease has ended a leader that still believes in it
// is unhealthy.
const stuckTimeout = 20 * time.Second

var errLeaseLost = errors.New("the lease was lost: another replica may act now")

// election makes sure that one replica of the operator acts at a time.
type election struct {
	config  componentbaseconfig.LeaderElectionConfiguration
	elector atomic.Pointer[leaderelection.LeaderElector]
}

func newElection(config componentbaseconfig.LeaderElectionConfiguration) *election {
	return &election{config: config}
}

// check fails when this replica leads, could not renew its lease, and does not end.
func (e *election) check(*http.Request) error {
	elector := e.elector.Load()
	if elector == nil {
		return nil // before there is an election, or without any
	}
	return elector.Check(stuckTimeout)
}

// fence wraps the transport of the clients that work needs. It lets no write pass once the
// lease has run out. That can come as a surprise: a replica that was suspended for a while
// has yet to notice it, and what it is about to write is what it knew before.
func (e *election) fence(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		if request.Method == http.MethodGet || e.leads() {
			return next.RoundTrip(request)
		}
		if request.Body != nil {
			request.Body.Close()
		}
		return nil, errLeaseLost
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// leads tells whether this replica holds the lease, and that has not run out. The lease counts
// from when the server renewed it. The elector counts from the answer, and waits for that until
// the renew deadline.
func (e *election) leads() bool {
	elector := e.elector.Load()
	return elector != nil && elector.IsLeader() && elector.Check(-e.config.RenewDeadline.Duration) == nil
}

// run waits for the lease and then works while it holds it. When ctx is done it releases
// the lease, but only once work has returned: a successor must not start while this
// replica still writes. A lost lease is an error, after which the process must end.
func (e *election) run(ctx context.Context, leases coordinationv1.LeasesGetter, work func(context.Context) error) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("finding a name for this replica: %w", err)
	}
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: e.config.ResourceNamespace, Name: e.config.ResourceName},
		Client:     leases,
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
	}

	leaseCtx, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	var result error
	finished := make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            lock,
		Name:            e.config.ResourceName,
		LeaseDuration:   e.config.LeaseDuration.Duration,
		RenewDeadline:   e.config.RenewDeadline.Duration,
		RetryPeriod:     e.config.RetryPeriod.Duration,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				workCtx, cancel := context.WithCancel(leading)
				defer cancel()
				defer context.AfterFunc(ctx, cancel)()
				result = work(workCtx)
				close(finished)
				release()
			},
			OnStoppedLeading: func() { klog.FromContext(ctx).Info("Stopped leading") },
		},
	})
	if err != nil {
		return fmt.Errorf("setting up leader election: %w", err)
	}
	e.elector.Store(elector)
	// A replica that never led has nothing to finish.
	defer context.AfterFunc(ctx, func() {
		if !elector.IsLeader() {
			release()
		}
	})()

	elector.Run(leaseCtx)
	select {
	case <-finished:
		return result
	default:
		// Either it never led, or it must not wait for its work, which now is another's.
		if ctx.Err() != nil {
			return nil
		}
		return errLeaseLost
	}
}
