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

// newReviewer returns an API server that authenticates the token "known" and allows only /metrics.
func newReviewer(failure *error) *fake.Clientset {
	client := fake.NewClientset()
	client.PrependReactor("create", "tokenreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview) //nolint:errcheck,forcetypeassert // the reactor gets no other type
		review.Status.Authenticated = review.Spec.Token == "known"
		review.Status.User.Username = "prometheus"
		return true, review, *failure
	})
	client.PrependReactor("create", "subjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview) //nolint:errcheck,forcetypeassert // the reactor gets no other type
		review.Status.Allowed = review.Spec.User == "prometheus" && review.Spec.NonResourceAttributes.Path == "/metrics"
		return true, review, nil
	})
	return client
}

// TestAuthFilter checks the responses, and the number of reviews that they take.
func TestAuthFilter(t *testing.T) {
	var failure error
	client := newReviewer(&failure)
	filter := newAuthFilter(client, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "secret") }))
	get := func(path, authorization string) *httptest.ResponseRecorder {
		request := httptest.NewRequest(http.MethodGet, path, http.NoBody)
		request.Header.Set("Authorization", authorization)
		response := httptest.NewRecorder()
		filter.ServeHTTP(response, request)
		return response
	}
	for _, test := range []struct {
		name, path, authorization string
		failure                   error
		wantCode, wantReviews     int
	}{
		{"no token", "/metrics", "", nil, http.StatusUnauthorized, 0},
		{"unsupported scheme", "/metrics", "Basic known", nil, http.StatusUnauthorized, 0},
		{"failing review", "/metrics", "Bearer known", errors.New("unavailable"), http.StatusServiceUnavailable, 1},
		{"failure is not cached", "/metrics", "Bearer known", nil, http.StatusOK, 2},
		{"decision is cached", "/metrics", "Bearer known", errors.New("unavailable"), http.StatusOK, 0},
		{"unauthorized path", "/debug/pprof/", "Bearer known", nil, http.StatusForbidden, 2},
		{"unknown token", "/metrics", "Bearer other", nil, http.StatusUnauthorized, 1},
	} {
		failure = test.failure
		client.ClearActions()
		response := get(test.path, test.authorization)
		if response.Code != test.wantCode || len(client.Actions()) != test.wantReviews {
			t.Errorf("%s: got status %d and %d reviews, want %d and %d", test.name, response.Code, len(client.Actions()), test.wantCode, test.wantReviews)
		}
		if (response.Body.String() == "secret") != (test.wantCode == http.StatusOK) {
			t.Errorf("%s: got body %q with status %d", test.name, response.Body, response.Code)
		}
	}
}

// TestAuthFilterCacheExpires checks that a decision is reviewed after its TTL, and not before.
func TestAuthFilterCacheExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failure error
		client := newReviewer(&failure)
		filter := newAuthFilter(client, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		for _, test := range []struct {
			after       time.Duration
			wantReviews int
		}{
			{0, 2},
			{decisionTTL - time.Second, 0},
			{2 * time.Second, 2},
		} {
			time.Sleep(test.after)
			client.ClearActions()
			request := httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody)
			request.Header.Set("Authorization", "Bearer known")
			filter.ServeHTTP(httptest.NewRecorder(), request)
			if got := len(client.Actions()); got != test.wantReviews {
				t.Errorf("after %s: got %d reviews, want %d", test.after, got, test.wantReviews)
			}
		}
	})
}

// TestAuthFilterRateLimit checks that a client that sends many invalid tokens is limited, and does
// not block another client with a valid token.
func TestAuthFilterRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failure error
		client := newReviewer(&failure)
		filter := newAuthFilter(client, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		get := func(token string) int {
			request := httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody)
			request.Header.Set("Authorization", "Bearer "+token)
			response := httptest.NewRecorder()
			filter.ServeHTTP(response, request)
			return response.Code
		}
		if code := get("known"); code != http.StatusOK {
			t.Fatalf("valid token: got status %d, want 200", code)
		}
		time.Sleep(decisionTTL + time.Second)
		client.ClearActions()
		code := 0
		for i := range 100 {
			code = get(strconv.Itoa(i))
		}
		if code != http.StatusTooManyRequests || len(client.Actions()) > 2*reviewBurst {
			t.Errorf("last of 100 invalid tokens: got status %d and %d reviews", code, len(client.Actions()))
		}
		if code := get("known"); code != http.StatusOK {
			t.Errorf("valid token after many invalid ones: got status %d, want 200", code)
		}
	})
}
