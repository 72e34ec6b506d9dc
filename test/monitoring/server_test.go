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

// server is a Prometheus that scrapes operators as the manifests say.
type server struct {
	*testing.T
	url string
}

// serviceMonitor is what the tests read of one.
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

// startPrometheus starts a server with the alert rules, which scrapes targets, by name, with
// the rights of the ServiceAccount in reader_binding.yaml.
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
	configFile := filepath.Join(dir, "prometheus.yml") // JSON is YAML
	writeFile(t, configFile, config)
	address := freeAddress(t)
	start(t, filepath.Join(*prometheus, "prometheus"), "--config.file", configFile, "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", address, "--log.level=warn")
	return &server{T: t, url: "http://" + address}
}

// readerToken returns a token of Prometheus' ServiceAccount, after it was given its right.
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

// scrapeConfig returns what prometheus-operator makes of the ServiceMonitor: the job has the name
// of the Service, and the target the labels of where it runs.
func scrapeConfig(t *testing.T, token string, targets map[string]string) map[string]any {
	t.Helper()
	var monitor serviceMonitor
	readYAML(t, "manifests/monitoring/service_monitor.yaml", &monitor)
	var service corev1.Service
	readYAML(t, "manifests/operator/metrics_service.yaml", &service)
	for key, value := range monitor.Spec.Selector.MatchLabels {
		if service.Labels[key] != value {
			t.Errorf("the ServiceMonitor selects %s=%s, which the Service does not have", key, value)
		}
	}
	endpoint := monitor.Spec.Endpoints[0]
	if !slices.ContainsFunc(service.Spec.Ports, func(port corev1.ServicePort) bool { return port.Name == endpoint.Port }) {
		t.Errorf("the ServiceMonitor means the port %q, which the Service does not have", endpoint.Port)
	}
	if endpoint.BearerTokenFile == "" {
		t.Error("the ServiceMonitor has no token")
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

// get asks Prometheus' API, and returns an error unless it answers with what was asked for.
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

// series is what a query returns for one set of labels.
type series struct {
	Labels map[string]string `json:"metric"`
	Values []sample          `json:"values"`
	// Value is that of a query for one moment.
	Value sample `json:"value"`
}

// sample is a number at a time, in seconds.
type sample struct{ At, Value float64 }

// UnmarshalJSON reads a time and a number in quotes, as Prometheus writes them.
func (s *sample) UnmarshalJSON(data []byte) error {
	var value string
	if err := json.Unmarshal(data, &[]any{&s.At, &value}); err != nil {
		return err
	}
	var err error
	s.Value, err = strconv.ParseFloat(value, 64)
	return err
}

// query returns what an expression is now.
func (s *server) query(expression string) ([]series, error) {
	var data struct {
		Result []series `json:"result"`
	}
	err := s.get("query", url.Values{"query": {expression}}, &data)
	return data.Result, err
}

// queryRange returns what an expression was since a time, by the second.
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
