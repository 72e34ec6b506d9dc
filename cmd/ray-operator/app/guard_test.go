package app

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// reviewer is an API server that knows the token "known", and allows /metrics alone.
func reviewer(failure *error) *fake.Clientset {
	client := fake.NewClientset()
	client.PrependReactor("create", "tokenreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview) //nolint:errcheck,forcetypeassert // it reacts to no other
		review.Status.Authenticated = review.Spec.Token == "known"
		review.Status.User.Username = "me"
		return true, review, *failure
	})
	client.PrependReactor("create", "subjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview) //nolint:errcheck,forcetypeassert // it reacts to no other
		review.Status.Allowed = review.Spec.User == "me" && review.Spec.NonResourceAttributes.Path == "/metrics"
		return true, review, nil
	})
	return client
}

// TestGuard states who gets to see what, and how often the API server is asked.
func TestGuard(t *testing.T) {
	var failure error
	client := reviewer(&failure)
	guard := newGuard(client, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "secret") }))
	get := func(path, authorization string) *httptest.ResponseRecorder {
		request := httptest.NewRequest(http.MethodGet, path, http.NoBody)
		request.Header.Set("Authorization", authorization)
		response := httptest.NewRecorder()
		guard.ServeHTTP(response, request)
		return response
	}
	for _, test := range []struct {
		name, path, authorization string
		failure                   error
		wantCode, wantReviews     int
	}{
		{"no token", "/metrics", "", nil, http.StatusUnauthorized, 0},
		{"another scheme", "/metrics", "Basic known", nil, http.StatusUnauthorized, 0},
		{"an API server that does not answer", "/metrics", "Bearer known", errors.New("no answer"), http.StatusServiceUnavailable, 1},
		{"which is not held against anybody later", "/metrics", "Bearer known", nil, http.StatusOK, 2},
		{"once more, which the API server is not asked", "/metrics", "Bearer known", errors.New("no answer"), http.StatusOK, 0},
		{"another path", "/debug/pprof/", "Bearer known", nil, http.StatusForbidden, 2},
		{"another token", "/metrics", "Bearer other", nil, http.StatusUnauthorized, 1},
	} {
		failure = test.failure
		client.ClearActions()
		response := get(test.path, test.authorization)
		if response.Code != test.wantCode || len(client.Actions()) != test.wantReviews {
			t.Errorf("%s: %d after %d reviews, want %d after %d", test.name, response.Code, len(client.Actions()), test.wantCode, test.wantReviews)
		}
		if (response.Body.String() == "secret") != (test.wantCode == http.StatusOK) {
			t.Errorf("%s: it gets to see %q", test.name, response.Body)
		}
	}
}

// TestGuardForgets has somebody come back when a decision has run out, and then it is made anew.
func TestGuardForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failure error
		client := reviewer(&failure)
		guard := newGuard(client, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		for _, test := range []struct {
			after       time.Duration
			wantReviews int
		}{
			{0, 2},
			{decisionLifetime - time.Second, 0},
			{2 * time.Second, 2},
		} {
			time.Sleep(test.after)
			client.ClearActions()
			request := httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody)
			request.Header.Set("Authorization", "Bearer known")
			guard.ServeHTTP(httptest.NewRecorder(), request)
			if got := len(client.Actions()); got != test.wantReviews {
				t.Errorf("%s later there were %d reviews, want %d", test.after, got, test.wantReviews)
			}
		}
	})
}

// TestGuardLimit has somebody try one token after the other, beside one who has the right one, and
// comes back each minute.
func TestGuardLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failure error
		client := reviewer(&failure)
		guard := newGuard(client, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		get := func(token string) int {
			request := httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody)
			request.Header.Set("Authorization", "Bearer "+token)
			response := httptest.NewRecorder()
			guard.ServeHTTP(response, request)
			return response.Code
		}
		if code := get("known"); code != http.StatusOK {
			t.Fatalf("the right token is answered with %d", code)
		}
		time.Sleep(decisionLifetime + time.Second)
		client.ClearActions()
		code := 0
		for i := range 100 {
			code = get(strconv.Itoa(i))
		}
		if code != http.StatusTooManyRequests || len(client.Actions()) > 2*reviewBurst {
			t.Errorf("the last of 100 tokens is answered with %d, after %d reviews", code, len(client.Actions()))
		}
		if code := get("known"); code != http.StatusOK {
			t.Errorf("among others' attempts the right token is answered with %d", code)
		}
	})
}
