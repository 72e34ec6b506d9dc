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

package monitoring

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// server is a Prometheus that scrapes operators as configured in the manifests.
type server struct {
	*testing.T
	url string
}

// serviceMonitor has the fields of a ServiceMonitor that the tests use.
type serviceMonitor struct {
	Spec struct {
		Selector struct {
			MatchLabels map[string]string `json:"matchLabels"`
		} `json:"selector"`
		Endpoints []struct {
			Port            string `json:"port"`
			Path            string `json:"path"`
			Scheme          string `json:"scheme"`
			BearerTokenFile string `json:"bearerTokenFile"`
			HonorLabels     bool   `json:"honorLabels"`
			TLSConfig       struct {
				InsecureSkipVerify bool `json:"insecureSkipVerify"`
			} `json:"tlsConfig"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// startPrometheus starts Prometheus with the alert rules. It scrapes targets (name to address) as the
// ServiceAccount in reader_binding.yaml.
func startPrometheus(t *testing.T, targets map[string]string) *server {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs(path(rulesFile))
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(dir, "token")
	writeFile(t, token, []byte(readerToken(t)))
	config, err := json.Marshal(map[string]any{
		"global":         map[string]any{"scrape_interval": "1s", "evaluation_interval": "1s"},
		"rule_files":     []string{rules},
		"scrape_configs": []any{scrapeConfig(t, token, targets)},
	})
	if err != nil {
		t.Fatal(err)
	}
	configFile := filepath.Join(dir, "prometheus.yml") // JSON is valid YAML.
	writeFile(t, configFile, config)
	address := freeAddress(t)
	start(t, filepath.Join(*prometheus, "prometheus"), "--config.file", configFile, "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", address, "--log.level=warn")
	return &server{T: t, url: "http://" + address}
}

// readerToken applies reader_binding.yaml and returns a token of Prometheus' ServiceAccount.
func readerToken(t *testing.T) string {
	t.Helper()
	const manifest = "manifests/monitoring/reader_binding.yaml"
	var binding rbacv1.ClusterRoleBinding
	readYAML(t, manifest, &binding)
	account := binding.Subjects[0]
	kubectl(t, "create", "namespace", account.Namespace)
	kubectl(t, "create", "serviceaccount", account.Name, "--namespace", account.Namespace)
	kubectl(t, "apply", "-f", path(manifest))
	return kubectl(t, "create", "token", account.Name, "--namespace", account.Namespace)
}

// scrapeConfig returns the scrape configuration that prometheus-operator generates from the
// ServiceMonitor: the job has the name of the Service, and the targets have the labels of their Pod.
func scrapeConfig(t *testing.T, token string, targets map[string]string) map[string]any {
	t.Helper()
	var monitor serviceMonitor
	readYAML(t, "manifests/monitoring/service_monitor.yaml", &monitor)
	var service corev1.Service
	readYAML(t, "manifests/operator/metrics_service.yaml", &service)
	for key, value := range monitor.Spec.Selector.MatchLabels {
		if service.Labels[key] != value {
			t.Errorf("the ServiceMonitor selects the label %s=%s, which the Service does not have", key, value)
		}
	}
	endpoint := monitor.Spec.Endpoints[0]
	if !slices.ContainsFunc(service.Spec.Ports, func(port corev1.ServicePort) bool { return port.Name == endpoint.Port }) {
		t.Errorf("the ServiceMonitor selects the port %q, which the Service does not have", endpoint.Port)
	}
	if endpoint.BearerTokenFile == "" {
		t.Error("the ServiceMonitor has no bearerTokenFile")
	}
	var static []any
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		static = append(static, map[string]any{
			"targets": []string{targets[name]},
			"labels":  map[string]string{"instance": name, "pod": name, "namespace": service.Namespace, "service": service.Name, "endpoint": endpoint.Port},
		})
	}
	return map[string]any{
		"job_name": service.Name, "scheme": endpoint.Scheme, "metrics_path": endpoint.Path, "honor_labels": endpoint.HonorLabels,
		"authorization":  map[string]any{"credentials_file": token},
		"tls_config":     map[string]any{"insecure_skip_verify": endpoint.TLSConfig.InsecureSkipVerify},
		"static_configs": static,
	}
}

// get calls the HTTP API of Prometheus.
func (s *server) get(call string, query url.Values, into any) error {
	response, err := http.Get(s.url + "/api/v1/" + call + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %v: %s: %s", call, query, response.Status, body)
	}
	return json.Unmarshal(body, &struct {
		Data any `json:"data"`
	}{into})
}

// series is the result of a query for one set of labels.
type series struct {
	Labels map[string]string `json:"metric"`
	Values []sample          `json:"values"`
	// Value is set by instant queries, Values by range queries.
	Value sample `json:"value"`
}

// sample is a value at a Unix time.
type sample struct{ At, Value float64 }

// UnmarshalJSON decodes a time and a quoted number.
func (s *sample) UnmarshalJSON(data []byte) error {
	var value string
	if err := json.Unmarshal(data, &[]any{&s.At, &value}); err != nil {
		return err
	}
	var err error
	s.Value, err = strconv.ParseFloat(value, 64)
	return err
}

// query evaluates an expression at the current time.
func (s *server) query(expression string) ([]series, error) {
	var data struct {
		Result []series `json:"result"`
	}
	err := s.get("query", url.Values{"query": {expression}}, &data)
	return data.Result, err
}

// queryRange evaluates an expression for each second since a time.
func (s *server) queryRange(expression string, since time.Time) []series {
	s.Helper()
	var data struct {
		Result []series `json:"result"`
	}
	query := url.Values{
		"query": {expression}, "step": {"1"},
		"start": {strconv.FormatInt(since.Unix(), 10)}, "end": {strconv.FormatInt(time.Now().Unix(), 10)},
	}
	if err := s.get("query_range", query, &data); err != nil {
		s.Error(err)
	}
	return data.Result
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
