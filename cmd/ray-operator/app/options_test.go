package app

import (
	"strings"
	"testing"
)

// TestValidate has flags that make no sense, each named by its error, beside ones that just do.
func TestValidate(t *testing.T) {
	const election = "--leader-elect --leader-elect-retry-period=1s "
	for _, test := range []struct {
		name, args string
		// want is in the error; empty means that there is none.
		want string
	}{
		{"nothing", "", ""},
		{"two namespaces", "--namespace=a --namespace=b", ""},
		{"the same namespace twice", "--namespace=a,b,a", "--namespace=a is there twice"},
		{"no namespace's name", "--namespace=A", `--namespace="A" is not the name`},
		{"an argument", "run", `unexpected argument "run"`},
		{"no workers", "--workers=0", "--workers=0: at least 1"},
		{"no requests", "--kube-api-qps=0", "--kube-api-qps=0 would allow no request"},
		{"no requests at once", "--kube-api-qps=5 --kube-api-burst=0", "--kube-api-burst=0: at least 1"},
		{"a burst of what is not limited", "--kube-api-burst=0", ""},
		{"profiles that are served nowhere", "--profiling --metrics-bind-address=", "--profiling needs a --metrics-bind-address"},
		{"a certificate without its key", "--tls-cert-file=a", "--tls-cert-file and --tls-private-key-file need each other"},
		{"a key without its certificate", "--tls-private-key-file=a", "--tls-cert-file and --tls-private-key-file need each other"},
		{"a certificate for HTTP", "--tls-cert-file=a --tls-private-key-file=b --metrics-secure=false", "--tls-cert-file is for metrics over HTTPS"},
		{"a certificate for nothing", "--tls-cert-file=a --tls-private-key-file=b --metrics-bind-address=", "--tls-cert-file is for metrics over HTTPS"},
		{"no election, whatever its flags", "--leader-elect-retry-period=0s", ""},
		{"another lock", "--leader-elect --leader-elect-resource-lock=configmaps", `--leader-elect-resource-lock="configmaps"`},
		{"a lease without a name", "--leader-elect --leader-elect-resource-name=", "--leader-elect-resource-name"},
		{"a lease in no namespace", "--leader-elect --leader-elect-resource-namespace=", "--leader-elect-resource-namespace"},
		{"no time between two tries", "--leader-elect --leader-elect-retry-period=0s", "--leader-elect-retry-period must be positive"},
		{"one try until the deadline", election + "--leader-elect-renew-deadline=1200ms", "--leader-elect-renew-deadline must be over 1.2 times"},
		{"a lease that ends while its leader may still act", election + "--leader-elect-renew-deadline=2s --leader-elect-lease-duration=4s", "--leader-elect-lease-duration must be over twice"},
		{"a lease that ends just after that", election + "--leader-elect-renew-deadline=1999ms --leader-elect-lease-duration=4s", ""},
		{"a lease that others take for a shorter one", election + "--leader-elect-renew-deadline=2s --leader-elect-lease-duration=5500ms", "--leader-elect-lease-duration must be in whole seconds"},
		{"the election that is installed", "--leader-elect", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := NewOptions().Parse(strings.Fields(test.args))
			switch {
			case test.want == "" && err != nil:
				t.Errorf("%s: %v", test.args, err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("%s: the error is %v, want %s", test.args, err, test.want)
			}
		})
	}
}
