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

// Package app implements the ray-operator process: flags, startup checks, leader election and
// HTTP endpoints.
package app

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	componentbaseconfig "k8s.io/component-base/config"
	configoptions "k8s.io/component-base/config/options"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // for --logging-format=json
)

// Options holds the values of the flags.
type Options struct {
	// Kubeconfig is the path to a kubeconfig file. If empty, the operator uses the in-cluster
	// configuration. $KUBECONFIG and ~/.kube/config are not read, so that the operator never
	// runs against a cluster by accident.
	Kubeconfig string
	// Namespaces are the namespaces to watch for Rays. Empty means all.
	Namespaces []string
	// Workers is the number of Rays that are synced concurrently.
	Workers int
	// QPS and Burst limit the requests to the API server. If QPS is negative, there is no
	// client-side limit, only the API server's priority and fairness.
	QPS   float32
	Burst int
	// HealthBindAddress is the address of /healthz and /readyz. If empty, they are not served.
	HealthBindAddress string
	// MetricsBindAddress is the address of /metrics. If empty, it is not served.
	MetricsBindAddress string
	// MetricsSecure serves metrics over HTTPS, to authorized clients only.
	MetricsSecure bool
	// TLSCertFile and TLSPrivateKeyFile are the serving certificate and its key, in PEM. If
	// empty, the operator generates a self-signed certificate.
	TLSCertFile, TLSPrivateKeyFile string
	// Profiling serves /debug/pprof/ on MetricsBindAddress.
	Profiling bool
	// LeaderElection configures leader election between replicas of the operator.
	LeaderElection componentbaseconfig.LeaderElectionConfiguration
	// Logging configures the log output.
	Logging *logsapi.LoggingConfiguration
	// ShowVersion prints the version and exits.
	ShowVersion bool
}

// NewOptions returns the default options.
func NewOptions() *Options {
	return &Options{
		Workers:            8,
		QPS:                -1,
		Burst:              100,
		HealthBindAddress:  ":8081",
		MetricsBindAddress: ":8443",
		MetricsSecure:      true,
		LeaderElection: componentbaseconfig.LeaderElectionConfiguration{
			ResourceLock:      "leases",
			ResourceName:      "ray-operator",
			ResourceNamespace: "ray-system",
			LeaseDuration:     metav1.Duration{Duration: 15 * time.Second},
			RenewDeadline:     metav1.Duration{Duration: 7 * time.Second},
			// A standby replica checks the lease after 1 to 2.2 times this period, so it takes
			// over less than two seconds after the lease was released.
			RetryPeriod: metav1.Duration{Duration: 750 * time.Millisecond},
		},
		Logging: logsapi.NewLoggingConfiguration(),
	}
}

// scopes returns the namespaces to watch, or metav1.NamespaceAll.
func (o *Options) scopes() []string {
	if len(o.Namespaces) == 0 {
		return []string{metav1.NamespaceAll}
	}
	return o.Namespaces
}

// AddFlags adds a flag for each option to fs.
func (o *Options) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "Path to a kubeconfig file. If unset, the in-cluster configuration is used.")
	fs.StringSliceVar(&o.Namespaces, "namespace", o.Namespaces, "Namespace to watch for Rays. Can be repeated. If unset, all namespaces are watched.")
	fs.IntVar(&o.Workers, "workers", o.Workers, "Number of Rays that are synced concurrently.")
	fs.Float32Var(&o.QPS, "kube-api-qps", o.QPS, "Average number of requests per second to the API server, excluding leader election. If negative, there is no client-side limit.")
	fs.IntVar(&o.Burst, "kube-api-burst", o.Burst, "Maximum burst of requests to the API server. Only used if --kube-api-qps is positive.")
	fs.StringVar(&o.HealthBindAddress, "health-bind-address", o.HealthBindAddress, "Address for /healthz and /readyz, over HTTP. If empty, they are not served.")
	fs.StringVar(&o.MetricsBindAddress, "metrics-bind-address", o.MetricsBindAddress, "Address for /metrics. If empty, it is not served.")
	fs.BoolVar(&o.MetricsSecure, "metrics-secure", o.MetricsSecure, "Serve metrics over HTTPS and require clients to be authorized to GET /metrics. If false, serve plain HTTP without authorization.")
	fs.StringVar(&o.TLSCertFile, "tls-cert-file", o.TLSCertFile, "PEM file with the serving certificate, followed by any intermediate certificates. Reloaded when it changes. If unset, a self-signed certificate is generated.")
	fs.StringVar(&o.TLSPrivateKeyFile, "tls-private-key-file", o.TLSPrivateKeyFile, "PEM file with the private key that matches --tls-cert-file.")
	fs.BoolVar(&o.Profiling, "profiling", o.Profiling, "Serve profiles at /debug/pprof/ on --metrics-bind-address. Clients must be authorized to GET that path, unless --metrics-secure=false.")
	fs.BoolVar(&o.ShowVersion, "version", o.ShowVersion, "Print the version and exit.")
	configoptions.BindLeaderElectionFlags(&o.LeaderElection, fs)
	logsapi.AddFlags(o.Logging, fs)
}

// Parse sets the options from args and validates them. If args contain --help, it prints the
// usage and returns pflag.ErrHelp.
func (o *Options) Parse(args []string) error {
	fs := pflag.NewFlagSet("ray-operator", pflag.ContinueOnError)
	fs.SetOutput(os.Stdout)
	fs.Usage = func() {
		fmt.Printf("Runs Ray clusters on Kubernetes: reconciles Ray objects (ray.kubeflow.org/v1).\n\nFlags:\n%s", fs.FlagUsages())
	}
	o.AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: see --help for the supported flags", fs.Arg(0))
	}
	return o.Validate()
}

// Validate returns an error for the first invalid flag.
func (o *Options) Validate() error {
	for i, namespace := range o.Namespaces {
		if len(validation.IsDNS1123Label(namespace)) > 0 {
			return fmt.Errorf("--namespace=%q is not a valid namespace name", namespace)
		}
		if slices.Contains(o.Namespaces[:i], namespace) {
			return fmt.Errorf("--namespace=%s is set more than once", namespace)
		}
	}
	switch {
	case o.Workers < 1:
		return fmt.Errorf("--workers=%d: must be at least 1", o.Workers)
	case o.QPS == 0:
		return errors.New("--kube-api-qps=0 blocks all requests: set a negative value for no limit")
	case o.Profiling && o.MetricsBindAddress == "":
		return errors.New("--profiling requires --metrics-bind-address")
	case (o.TLSCertFile == "") != (o.TLSPrivateKeyFile == ""):
		return errors.New("--tls-cert-file and --tls-private-key-file must be set together")
	case o.TLSCertFile != "" && (!o.MetricsSecure || o.MetricsBindAddress == ""):
		return errors.New("--tls-cert-file requires --metrics-secure and --metrics-bind-address")
	case o.QPS > 0 && o.Burst < 1:
		return fmt.Errorf("--kube-api-burst=%d: must be at least 1 if --kube-api-qps is positive", o.Burst)
	case o.LeaderElection.LeaderElect:
		return validateElection(&o.LeaderElection)
	}
	return nil
}

func validateElection(election *componentbaseconfig.LeaderElectionConfiguration) error {
	switch {
	case election.ResourceLock != "leases":
		return fmt.Errorf("--leader-elect-resource-lock=%q: only leases are supported", election.ResourceLock)
	case election.ResourceName == "" || election.ResourceNamespace == "":
		return errors.New("--leader-elect requires --leader-elect-resource-name and --leader-elect-resource-namespace")
	case election.RetryPeriod.Duration <= 0:
		return errors.New("--leader-elect-retry-period must be positive")
	case election.RenewDeadline.Duration <= election.RetryPeriod.Duration*6/5:
		return errors.New("--leader-elect-renew-deadline must be more than 1.2 times --leader-elect-retry-period")
	case election.LeaseDuration.Duration%time.Second != 0:
		// Other replicas read the duration from the Lease, which stores whole seconds.
		return errors.New("--leader-elect-lease-duration must be in whole seconds")
	case election.LeaseDuration.Duration <= 2*election.RenewDeadline.Duration:
		// A leader that cannot renew its lease may spend another renew deadline on releasing
		// it. It must have stopped before another replica takes over.
		return errors.New("--leader-elect-lease-duration must be more than twice --leader-elect-renew-deadline")
	}
	return nil
}
