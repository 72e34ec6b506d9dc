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

// stuckTimeout is how long after its lease has expired a leader that has not exited becomes
// unhealthy.
const stuckTimeout = 20 * time.Second

var errLeaseLost = errors.New("the lease was lost: another replica may be leading")

// election ensures that only one replica of the operator reconciles at a time.
type election struct {
	config  componentbaseconfig.LeaderElectionConfiguration
	elector atomic.Pointer[leaderelection.LeaderElector]
}

func newElection(config componentbaseconfig.LeaderElectionConfiguration) *election {
	return &election{config: config}
}

// check fails if this replica leads, could not renew its lease, and has not exited.
func (e *election) check(*http.Request) error {
	elector := e.elector.Load()
	if elector == nil {
		return nil // leader election is disabled or has not started
	}
	return elector.Check(stuckTimeout)
}

// fence wraps the transport of the controller's clients and rejects writes once the lease has
// expired. A replica that was suspended may not have noticed the expiry yet, and would write
// from stale state.
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

// leads reports whether this replica holds a lease that has not expired. The lease is valid
// from the time of its renewal on the server. The elector counts from the response, which can
// arrive up to the renew deadline later, so that much is subtracted.
func (e *election) leads() bool {
	elector := e.elector.Load()
	return elector != nil && elector.IsLeader() && elector.Check(-e.config.RenewDeadline.Duration) == nil
}

// run waits for the lease and calls work while it holds the lease. When ctx is done, it
// releases the lease after work has returned: another replica must not start while this one
// still writes. If the lease is lost, it returns an error, and the process must exit.
func (e *election) run(ctx context.Context, leases coordinationv1.LeasesGetter, work func(context.Context) error) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("getting the hostname for leader election: %w", err)
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
	// A replica that does not lead has no work to finish.
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
		// Either this replica never led, or it lost the lease and must not wait for its work.
		if ctx.Err() != nil {
			return nil
		}
		return errLeaseLost
	}
}
