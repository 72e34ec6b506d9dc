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
	// decisionLifetime is how long a decision of the API server holds. A right that was
	// taken away is lost after so long at the latest.
	decisionLifetime = time.Minute
	// welcomeLifetime is how long somebody who was let pass is asked about without a limit.
	welcomeLifetime = time.Hour
	// reviewQPS and reviewBurst limit how often the API server is asked, by the second: whoever
	// floods the operator with tokens must not flood the API server.
	reviewQPS   = 10
	reviewBurst = 20
	// maxDecisions bounds the memory for decisions, whoever tries whatever token.
	maxDecisions = 1000
	// reviewTimeout bounds what asking the API server may take.
	reviewTimeout = 10 * time.Second
)

// guard lets those pass to a handler whom the API server authenticates by their token, and
// whom it allows to get the path. It is what k8s.io/apiserver has for Kubernetes' components,
// without the policies, tracing and tunnels that come with it.
type guard struct {
	client    kubernetes.Interface
	handler   http.Handler
	decisions *utilcache.LRUExpireCache
	// welcome has those who were let pass of late.
	welcome *utilcache.LRUExpireCache
	limiter flowcontrol.RateLimiter
}

func newGuard(client kubernetes.Interface, handler http.Handler) *guard {
	return &guard{
		client:    client,
		handler:   handler,
		decisions: utilcache.NewLRUExpireCache(maxDecisions),
		welcome:   utilcache.NewLRUExpireCache(maxDecisions),
		limiter:   flowcontrol.NewTokenBucketRateLimiter(reviewQPS, reviewBurst),
	}
}

// ServeHTTP implements http.Handler.
func (g *guard) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	token, found := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer ")
	if !found || token == "" {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "a bearer token is needed", http.StatusUnauthorized)
		return
	}
	decision, err := g.decide(request.Context(), token, request.URL.Path)
	switch {
	case err != nil:
		klog.FromContext(request.Context()).Error(err, "Asking the API server who may read this failed", "path", request.URL.Path)
		http.Error(w, "the API server cannot be asked who you are", http.StatusServiceUnavailable)
	case decision.code != http.StatusOK:
		http.Error(w, decision.message, decision.code)
	default:
		g.handler.ServeHTTP(w, request)
	}
}

// decision is what comes of a request: http.StatusOK, or why it is refused.
type decision struct {
	code    int
	message string
}

// decide asks the API server, unless it was asked just now.
func (g *guard) decide(ctx context.Context, token, path string) (decision, error) {
	key := sha256.Sum256([]byte(path + "\x00" + token))
	if known, found := g.decisions.Get(key); found {
		return known.(decision), nil //nolint:errcheck,forcetypeassert // there is nothing else in it
	}
	// Those who try tokens must not use up the limit of those who have one.
	if _, welcome := g.welcome.Get(key); !welcome && !g.limiter.TryAccept() {
		return decision{http.StatusTooManyRequests, "too many tokens to ask the API server about"}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	decided, err := g.review(ctx, token, path)
	if err == nil {
		g.decisions.Add(key, decided, decisionLifetime)
	}
	if decided.code == http.StatusOK {
		g.welcome.Add(key, nil, welcomeLifetime)
	}
	return decided, err
}

// review asks the API server whose a token is, and whether that user may get a path.
func (g *guard) review(ctx context.Context, token, path string) (decision, error) {
	identity, err := g.client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token},
	}, metav1.CreateOptions{})
	if err != nil {
		return decision{}, fmt.Errorf("reviewing a token: %w", err)
	}
	if !identity.Status.Authenticated {
		return decision{http.StatusUnauthorized, "the API server does not know this token"}, nil
	}
	user := identity.Status.User
	extra := map[string]authorizationv1.ExtraValue{}
	for key, values := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	access, err := g.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: "get"},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return decision{}, fmt.Errorf("reviewing the access of %s: %w", user.Username, err)
	}
	if !access.Status.Allowed {
		return decision{http.StatusForbidden, fmt.Sprintf("%s may not get %s, for want of a ClusterRole with that nonResourceURL (ray-operator-metrics-reader has /metrics)", user.Username, path)}, nil
	}
	return decision{code: http.StatusOK}, nil
}
