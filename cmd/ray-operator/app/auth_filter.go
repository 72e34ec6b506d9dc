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
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilcache "k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"
)

const (
	// decisionTTL is how long a decision of the API server is cached. A revoked permission is
	// effective after this time at the latest.
	decisionTTL = time.Minute
	// allowedTTL is how long a token that was allowed is exempt from the rate limit.
	allowedTTL = time.Hour
	// reviewQPS and reviewBurst limit the reviews per second: a client that floods the operator
	// with tokens must not flood the API server.
	reviewQPS   = 10
	reviewBurst = 20
	// maxDecisions limits the memory for decisions.
	maxDecisions = 1000
	// reviewTimeout limits the duration of the reviews for a request.
	reviewTimeout = 10 * time.Second
)

// authFilter passes requests on to a handler if the API server authenticates their bearer token
// and authorizes the user to get the path. It does the same as the filters of k8s.io/apiserver,
// without the dependencies that come with them.
type authFilter struct {
	client    kubernetes.Interface
	handler   http.Handler
	decisions *utilcache.LRUExpireCache
	// allowed has the keys of recently allowed requests.
	allowed *utilcache.LRUExpireCache
	limiter flowcontrol.RateLimiter
}

func newAuthFilter(client kubernetes.Interface, handler http.Handler) *authFilter {
	return &authFilter{
		client:    client,
		handler:   handler,
		decisions: utilcache.NewLRUExpireCache(maxDecisions),
		allowed:   utilcache.NewLRUExpireCache(maxDecisions),
		limiter:   flowcontrol.NewTokenBucketRateLimiter(reviewQPS, reviewBurst),
	}
}

// ServeHTTP implements http.Handler.
func (f *authFilter) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	token, found := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer ")
	if !found || token == "" {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "bearer token required", http.StatusUnauthorized)
		return
	}
	decision, err := f.decide(request.Context(), token, request.URL.Path)
	switch {
	case err != nil:
		klog.FromContext(request.Context()).Error(err, "Authorizing a request failed", "path", request.URL.Path)
		http.Error(w, "the API server could not review the request", http.StatusServiceUnavailable)
	case decision.code != http.StatusOK:
		http.Error(w, decision.message, decision.code)
	default:
		f.handler.ServeHTTP(w, request)
	}
}

// decision is the result of a review: http.StatusOK, or the status and message of a denial.
type decision struct {
	code    int
	message string
}

// decide returns the cached decision or asks the API server.
func (f *authFilter) decide(ctx context.Context, token, path string) (decision, error) {
	key := sha256.Sum256([]byte(path + "\x00" + token))
	if cached, found := f.decisions.Get(key); found {
		return cached.(decision), nil //nolint:errcheck,forcetypeassert // the cache has no other type
	}
	// Invalid tokens must not use up the rate limit of valid ones.
	if _, allowed := f.allowed.Get(key); !allowed && !f.limiter.TryAccept() {
		return decision{http.StatusTooManyRequests, "too many reviews of tokens; retry later"}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	decided, err := f.review(ctx, token, path)
	if err == nil {
		f.decisions.Add(key, decided, decisionTTL)
	}
	if decided.code == http.StatusOK {
		f.allowed.Add(key, nil, allowedTTL)
	}
	return decided, err
}

// review asks the API server which user a token belongs to, and whether the user may get a path.
func (f *authFilter) review(ctx context.Context, token, path string) (decision, error) {
	identity, err := f.client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token},
	}, metav1.CreateOptions{})
	if err != nil {
		return decision{}, fmt.Errorf("creating TokenReview: %w", err)
	}
	if !identity.Status.Authenticated {
		return decision{http.StatusUnauthorized, "the API server did not authenticate the bearer token"}, nil
	}
	user := identity.Status.User
	extra := map[string]authorizationv1.ExtraValue{}
	for key, values := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	access, err := f.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: "get"},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return decision{}, fmt.Errorf("creating SubjectAccessReview for user %q: %w", user.Username, err)
	}
	if !access.Status.Allowed {
		return decision{http.StatusForbidden, forbidden(user.Username, path)}, nil
	}
	return decision{code: http.StatusOK}, nil
}

// forbidden returns the message for a user that is not authorized to get a path.
func forbidden(user, path string) string {
	remedy := "bind the ClusterRole ray-operator-metrics-reader"
	if path != "/metrics" {
		remedy = "bind a ClusterRole that allows this nonResourceURL"
	}
	return fmt.Sprintf("user %q is not authorized to GET %s; %s", user, path, remedy)
}
