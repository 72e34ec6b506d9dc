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
	"strings"
	"testing"
)

// TestValidate checks that each invalid flag is named by the error, and that valid limits pass.
func TestValidate(t *testing.T) {
	const election = "--leader-elect --leader-elect-retry-period=1s "
	for _, test := range []struct {
		name, args string
		// want is part of the error; empty means no error.
		want string
	}{
		{"defaults", "", ""},
		{"two namespaces", "--namespace=a --namespace=b", ""},
		{"duplicate namespace", "--namespace=a,b,a", "--namespace=a is set more than once"},
		{"invalid namespace", "--namespace=A", `--namespace="A" is not a valid namespace name`},
		{"positional argument", "run", `unexpected argument "run"`},
		{"no workers", "--workers=0", "--workers=0: must be at least 1"},
		{"zero QPS", "--kube-api-qps=0", "--kube-api-qps=0 blocks all requests"},
		{"zero burst with QPS", "--kube-api-qps=5 --kube-api-burst=0", "--kube-api-burst=0: must be at least 1"},
		{"zero burst without QPS", "--kube-api-burst=0", ""},
		{"profiling without metrics address", "--profiling --metrics-bind-address=", "--profiling requires --metrics-bind-address"},
		{"certificate without key", "--tls-cert-file=a", "--tls-cert-file and --tls-private-key-file must be set together"},
		{"key without certificate", "--tls-private-key-file=a", "--tls-cert-file and --tls-private-key-file must be set together"},
		{"certificate for plain HTTP", "--tls-cert-file=a --tls-private-key-file=b --metrics-secure=false", "--tls-cert-file requires --metrics-secure"},
		{"certificate without metrics address", "--tls-cert-file=a --tls-private-key-file=b --metrics-bind-address=", "--tls-cert-file requires --metrics-secure"},
		{"invalid election flags without election", "--leader-elect-retry-period=0s", ""},
		{"unsupported lock", "--leader-elect --leader-elect-resource-lock=configmaps", `--leader-elect-resource-lock="configmaps"`},
		{"lease without name", "--leader-elect --leader-elect-resource-name=", "--leader-elect-resource-name"},
		{"lease without namespace", "--leader-elect --leader-elect-resource-namespace=", "--leader-elect-resource-namespace"},
		{"zero retry period", "--leader-elect --leader-elect-retry-period=0s", "--leader-elect-retry-period must be positive"},
		{"renew deadline too short", election + "--leader-elect-renew-deadline=1200ms", "--leader-elect-renew-deadline must be more than 1.2 times"},
		{"lease duration too short", election + "--leader-elect-renew-deadline=2s --leader-elect-lease-duration=4s", "--leader-elect-lease-duration must be more than twice"},
		{"shortest lease duration", election + "--leader-elect-renew-deadline=1999ms --leader-elect-lease-duration=4s", ""},
		{"fractional lease duration", election + "--leader-elect-renew-deadline=2s --leader-elect-lease-duration=5500ms", "--leader-elect-lease-duration must be in whole seconds"},
		{"election with defaults", "--leader-elect", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := NewOptions().Parse(strings.Fields(test.args))
			switch {
			case test.want == "" && err != nil:
				t.Errorf("%s: %v", test.args, err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("%s: got error %v, want %q", test.args, err, test.want)
			}
		})
	}
}
