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

	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// metricsAddress matches the log message with the address.
var metricsAddress = regexp.MustCompile(`Serving /metrics" address="([^"]+)"`)

// metricsURL returns the URL of a path on the metrics port of an operator.
func metricsURL(t *testing.T, o *harness.Operator, scheme, path string) string {
	t.Helper()
	addresses := metricsAddress.FindAllStringSubmatch(readFile(t, o.Log), -1)
	if len(addresses) == 0 {
		t.Fatalf("the operator does not serve metrics; its log is %s", o.Log)
	}
	return scheme + "://" + addresses[len(addresses)-1][1] + path
}

// scrape gets a URL, with a bearer token unless that is empty. The certificate is not verified.
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

// newToken creates a ServiceAccount in the user's namespace and returns a token of it.
func (u *user) newToken(account string) (string, error) {
	if out := u.try("", "create", "serviceaccount", account); out.Err != nil {
		return "", out.Err
	}
	out := u.try("", "create", "token", account)
	return strings.TrimSpace(out.Stdout), out.Err
}

// TestMetrics scrapes the metrics as Prometheus does, with the token of a ServiceAccount.
func TestMetrics(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.applySample()
	unauthorized, err := u.newToken("unauthorized")
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
	url := metricsURL(t, operator, "https", "/metrics")

	for _, test := range []struct {
		name, token string
		wantCode    int
		wantPage    string
	}{
		{"no token", "", http.StatusUnauthorized, "bearer token required"},
		{"invalid token", "invalid", http.StatusUnauthorized, "did not authenticate the bearer token"},
		{"unauthorized user", unauthorized, http.StatusForbidden, `user "system:serviceaccount:` + u.namespace + `:unauthorized" is not authorized to GET /metrics; bind the ClusterRole ray-operator-metrics-reader`},
	} {
		if code, page := scrape(t, url, test.token); code != test.wantCode || !strings.Contains(page, test.wantPage) {
			t.Errorf("%s: got %d %q, want %d %q", test.name, code, page, test.wantCode, test.wantPage)
		}
	}
	u.eventually("the metrics include the Ray", func() error {
		code, page := scrape(t, url, reader)
		if code != http.StatusOK {
			return fmt.Errorf("%d %s", code, page)
		}
		for _, want := range []string{
			`ray_operator_rays{health="True",namespace="` + u.namespace + `"} 1`,
			`ray_operator_desired_replicas{health="True",namespace="` + u.namespace + `",role="worker"} 3`,
			`ray_operator_available_replicas{health="True",namespace="` + u.namespace + `",role="worker"} 3`,
			`ray_operator_available_replicas{health="True",namespace="` + u.namespace + `",role="head"} 1`,
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
	for line := range strings.Lines(page) {
		if strings.Contains(line, `"sample-cluster"`) { // the namespaces of other tests contain the name
			t.Errorf("a metric has the name of a Ray, so its cardinality is the number of Rays: %s", line)
		}
	}
	problems, err := testutil.NewPromLinter(strings.NewReader(page)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		if strings.HasPrefix(problem.Metric, "ray_operator_") {
			t.Errorf("promlint: %s: %s", problem.Metric, problem.Text)
		}
	}
	for token, want := range map[string]int{reader: http.StatusForbidden, profiler: http.StatusNotFound} {
		if code, page := scrape(t, metricsURL(t, operator, "https", "/debug/pprof/"), token); code != want {
			t.Errorf("/debug/pprof/ without --profiling: got %d %q, want %d", code, page, want)
		}
	}
}

// TestMetricsCertificate replaces the serving certificate while the operator runs.
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
	// Only one operator may watch the namespaces of other tests.
	o := newOperator(t, "certificate", "--namespace", u.namespace, "--tls-cert-file", certFile, "--tls-private-key-file", keyFile)
	start(t, o)

	get := func(name string, pool *x509.CertPool) error {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{ServerName: name, RootCAs: pool}, DisableKeepAlives: true}}
		response, err := client.Get(metricsURL(t, o, "https", "/metrics"))
		if err != nil {
			return err
		}
		return response.Body.Close()
	}
	if err := get("first.example", first); err != nil {
		t.Error(err)
	}
	second := write("second.example")
	u.eventually("the new certificate is served", func() error { return get("second.example", second) })
	if err := os.WriteFile(keyFile, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := get("second.example", second); err != nil {
		t.Errorf("after the key became invalid, the previous certificate is not served: %v", err)
	}
}

// TestInsecureMetrics serves metrics and profiles over HTTP without authorization.
func TestInsecureMetrics(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	o := newOperator(t, "insecure", "--namespace", u.namespace, "--metrics-secure=false", "--profiling")
	start(t, o)
	for path, want := range map[string]string{"/metrics": "process_cpu_seconds_total ", "/debug/pprof/goroutine?debug=1": "goroutine profile: total"} {
		if code, page := scrape(t, metricsURL(t, o, "http", path), ""); code != http.StatusOK || !strings.Contains(page, want) {
			t.Errorf("%s: got %d %q, want %q", path, code, page, want)
		}
	}
}
