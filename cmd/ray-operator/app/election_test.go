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

// TestLeaseThatCannotBeRenewed has an API server that takes no lease any more, and work that does
// not end. The leader writes nothing after the lease may be another's, and then is unhealthy.
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
					t.Errorf("%s: a read fails: %v", when, err)
				}
				if method == http.MethodPut && !errors.Is(err, want) {
					t.Errorf("%s: a write ends with %v, want %v", when, err, want)
				}
			}
			if wantSent := map[bool]int{true: 2, false: 1}[want == nil]; sent != wantSent {
				t.Errorf("%s: of a write and a read %d were sent, want %d", when, sent, wantSent)
			}
		}
		checkWrite("before the election", errLeaseLost)
		if err := e.check(nil); err != nil || e.leads() {
			t.Errorf("before the election: it leads: %t, %v", e.leads(), err)
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
			t.Errorf("while the lease is renewed: it leads: %t, %v", e.leads(), err)
		}
		checkWrite("while the lease is renewed", nil)
		unavailable.Store(true)
		time.Sleep(config.LeaseDuration.Duration - config.RenewDeadline.Duration + time.Second)
		if e.leads() {
			t.Error("it still leads though another may act as soon as the lease has run out")
		}
		checkWrite("after the lease may have run out", errLeaseLost)
		if err := <-result; !errors.Is(err, errLeaseLost) {
			t.Errorf("the election ends with %v", err)
		}
		if err := e.check(nil); err != nil {
			t.Errorf("it has some time to end, but is unhealthy: %v", err)
		}
		time.Sleep(config.LeaseDuration.Duration + stuckTimeout)
		if e.check(nil) == nil {
			t.Error("it does not end, and is healthy")
		}
	})
}
