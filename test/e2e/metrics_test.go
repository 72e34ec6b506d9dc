package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/component-base/metrics/testutil"
)

var metricsAddress = regexp.MustCompile(`Serving /metrics" address="([^"]+)"`)

// metricsURL returns where an operator serves something beside its metrics.
func (p *process) metricsURL(t *testing.T, scheme, path string) string {
	t.Helper()
	addresses := metricsAddress.FindAllStringSubmatch(readFile(t, p.log), -1)
	if len(addresses) == 0 {
		t.Fatalf("the operator does not serve metrics; its log is %s", p.log)
	}
	return scheme + "://" + addresses[len(addresses)-1][1] + path
}

// scrape gets an URL with a token, or with none, from a server whose certificate may be any.
func scrape(t *testing.T, url, token string) (code int, page string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// newToken returns a token of a ServiceAccount in the user's namespace, which it makes.
func (u *user) newToken(account string) (string, error) {
	if out := u.try("", "create", "serviceaccount", account); out.err != nil {
		return "", fmt.Errorf("%w: %s", out.err, out.stderr)
	}
	out := u.try("", "create", "token", account)
	return strings.TrimSpace(out.stdout), out.err
}

// TestMetrics reads the metrics as Prometheus does, with a ServiceAccount's token.
func TestMetrics(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.runSeed()
	stranger, err := u.newToken("stranger")
	if err != nil {
		t.Fatal(err)
	}
	reader, err := u.newToken("reader")
	if err != nil {
		t.Fatal(err)
	}
	u.kubectl("create", "clusterrolebinding", u.namespace, "--clusterrole=ray-operator-metrics-reader", "--serviceaccount="+u.namespace+":reader")
	t.Cleanup(func() { u.delete("clusterrolebinding", u.namespace) })
	profiler, err := u.newToken("profiler")
	if err != nil {
		t.Fatal(err)
	}
	profiles := u.namespace + "-profiles"
	u.kubectl("create", "clusterrole", profiles, "--verb=get", "--non-resource-url=/debug/pprof/*")
	t.Cleanup(func() { u.delete("clusterrole", profiles) })
	u.kubectl("create", "clusterrolebinding", profiles, "--clusterrole="+profiles, "--serviceaccount="+u.namespace+":profiler")
	t.Cleanup(func() { u.delete("clusterrolebinding", profiles) })
	url := operator.metricsURL(t, "https", "/metrics")

	for _, test := range []struct {
		name, token string
		wantCode    int
		wantPage    string
	}{
		{"nobody", "", http.StatusUnauthorized, "a bearer token is needed"},
		{"somebody unknown", "no-token", http.StatusUnauthorized, "does not know this token"},
		{"a stranger", stranger, http.StatusForbidden, "system:serviceaccount:" + u.namespace + ":stranger may not get /metrics, for want of a ClusterRole with that nonResourceURL (ray-operator-metrics-reader has /metrics)"},
	} {
		if code, page := scrape(t, url, test.token); code != test.wantCode || !strings.Contains(page, test.wantPage) {
			t.Errorf("%s is answered with %d %q, want %d %q", test.name, code, page, test.wantCode, test.wantPage)
		}
	}
	u.eventually("the metrics are those of the Ray", func() error {
		code, page := scrape(t, url, reader)
		if code != http.StatusOK {
			return fmt.Errorf("%d %s", code, page)
		}
		for _, want := range []string{
			`ray_operator_rays{health="True",namespace="` + u.namespace + `"} 1`,
			`ray_operator_replicas_wanted{health="True",namespace="` + u.namespace + `",role="worker"} 3`,
			`ray_operator_replicas_available{health="True",namespace="` + u.namespace + `",role="worker"} 3`,
			`ray_operator_replicas_available{health="True",namespace="` + u.namespace + `",role="head"} 1`,
			"ray_operator_sync_duration_seconds_count ", "ray_operator_build_info{version=",
			`workqueue_depth{name="ray"}`, `rest_client_requests_total{`, `informer_queued_items{group="ray.kubeflow.org",name="ray-operator",resource="rays",version="v1"}`,
			"process_resident_memory_bytes ", "go_goroutines ",
		} {
			if !strings.Contains(page, "\n"+want) {
				return fmt.Errorf("%s is missing", want)
			}
		}
		return nil
	})
	_, page := scrape(t, url, reader)
	if strings.Contains(page, "sample-cluster") {
		t.Error("a metric tells of one Ray, so that there are as many as there are Rays")
	}
	problems, err := testutil.NewPromLinter(strings.NewReader(page)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		if strings.HasPrefix(problem.Metric, "ray_operator_") {
			t.Errorf("promlint says of %s: %s", problem.Metric, problem.Text)
		}
	}
	for token, want := range map[string]int{reader: http.StatusForbidden, profiler: http.StatusNotFound} {
		if code, page := scrape(t, operator.metricsURL(t, "https", "/debug/pprof/"), token); code != want {
			t.Errorf("without --profiling, profiles are answered with %d %q, want %d", code, page, want)
		}
	}
}

// TestMetricsCertificate serves metrics with a certificate that is given, and then replaced.
func TestMetricsCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	write := func(name string) *x509.CertPool {
		cert, key, err := certutil.GenerateSelfSignedCertKey(name, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(keyFile, key, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(certFile, cert, 0o600); err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(cert)
		return pool
	}
	u := newUser(t)
	first := write("first.example")
	// It must not act on the Rays of others.
	p, err := newProcess("certificate", "--namespace", u.namespace, "--tls-cert-file", certFile, "--tls-private-key-file", keyFile)
	if err != nil {
		t.Fatal(err)
	}
	p.restart(t)
	t.Cleanup(p.stop)

	try := func(name string, pool *x509.CertPool) error {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{ServerName: name, RootCAs: pool}, DisableKeepAlives: true}}
		response, err := client.Get(p.metricsURL(t, "https", "/metrics"))
		if err != nil {
			return err
		}
		return response.Body.Close()
	}
	if err := try("first.example", first); err != nil {
		t.Error(err)
	}
	second := write("second.example")
	u.eventually("the new certificate is served", func() error { return try("second.example", second) })
	if err := os.WriteFile(keyFile, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := try("second.example", second); err != nil {
		t.Errorf("with a key that cannot be used, the certificate from before is no longer served: %v", err)
	}
}

// TestMetricsForAll serves metrics and profiles over HTTP, as was asked for, to anybody.
func TestMetricsForAll(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	p, err := newProcess("plain", "--namespace", u.namespace, "--metrics-secure=false", "--profiling")
	if err != nil {
		t.Fatal(err)
	}
	p.restart(t)
	t.Cleanup(p.stop)
	for path, want := range map[string]string{"/metrics": "process_cpu_seconds_total ", "/debug/pprof/goroutine?debug=1": "goroutine profile: total"} {
		if code, page := scrape(t, p.metricsURL(t, "http", path), ""); code != http.StatusOK || !strings.Contains(page, want) {
			t.Errorf("%s is answered with %d, without %q", path, code, want)
		}
	}
}
