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
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// TestLeaseThatCannotBeRenewed simulates an API server that rejects renewals, and work that does
// not return. The leader must not write after the lease may have expired, and becomes unhealthy.
func TestLeaseThatCannotBeRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := NewOptions().LeaderElection
		config.ResourceNamespace = "ray-system"
		kube := fake.NewClientset()
		var unavailable atomic.Bool
		kube.PrependReactor("update", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
			if unavailable.Load() {
				return true, nil, errors.New("the server is unavailable")
			}
			return false, nil, nil
		})
		e := newElection(config)
		sent := 0
		fenced := e.fence(roundTripper(func(*http.Request) (*http.Response, error) {
			sent++
			return &http.Response{Body: http.NoBody}, nil
		}))
		checkWrite := func(when string, want error) {
			t.Helper()
			sent = 0
			for _, method := range []string{http.MethodPut, http.MethodGet} {
				response, err := fenced.RoundTrip(httptest.NewRequest(method, "/", strings.NewReader("{}")))
				switch {
				case err == nil:
					response.Body.Close()
				case method == http.MethodGet:
					t.Errorf("%s: read failed: %v", when, err)
				}
				if method == http.MethodPut && !errors.Is(err, want) {
					t.Errorf("%s: write returned %v, want %v", when, err, want)
				}
			}
			if wantSent := map[bool]int{true: 2, false: 1}[want == nil]; sent != wantSent {
				t.Errorf("%s: %d of 2 requests were sent, want %d", when, sent, wantSent)
			}
		}
		checkWrite("before the election", errLeaseLost)
		if err := e.check(nil); err != nil || e.leads() {
			t.Errorf("before the election: leads = %t, health check = %v, want false, nil", e.leads(), err)
		}
		ended := make(chan struct{})
		result := make(chan error, 1)
		go func() {
			result <- e.run(t.Context(), kube.CoordinationV1(), func(context.Context) error {
				<-ended
				return nil
			})
		}()
		defer close(ended)

		time.Sleep(time.Minute)
		if err := e.check(nil); err != nil || !e.leads() {
			t.Errorf("while the lease is renewed: leads = %t, health check = %v, want true, nil", e.leads(), err)
		}
		checkWrite("while the lease is renewed", nil)
		unavailable.Store(true)
		time.Sleep(config.LeaseDuration.Duration - config.RenewDeadline.Duration + time.Second)
		if e.leads() {
			t.Error("the replica still leads after the lease may have expired")
		}
		checkWrite("after the lease may have expired", errLeaseLost)
		if err := <-result; !errors.Is(err, errLeaseLost) {
			t.Errorf("the election returned %v, want %v", err, errLeaseLost)
		}
		if err := e.check(nil); err != nil {
			t.Errorf("unhealthy before stuckTimeout: %v", err)
		}
		time.Sleep(config.LeaseDuration.Duration + stuckTimeout)
		if e.check(nil) == nil {
			t.Error("healthy after stuckTimeout, want unhealthy")
		}
	})
}
