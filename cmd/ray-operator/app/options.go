// Package app is the ray-operator as a process: its flags, and what they are wired to.
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

// Options are what the flags say.
type Options struct {
	// Kubeconfig is the file that says how to reach the API server. Empty means that the
	// operator runs in a Pod of the cluster. There is no other default, so that it never
	// runs against a cluster that nobody named.
	Kubeconfig string
	// Namespaces are those whose Rays are kept. None means all.
	Namespaces []string
	// Workers is how many Rays are synced at a time.
	Workers int
	// QPS and Burst limit the requests to the API server per second. A negative QPS means
	// no limit: the server's priority and fairness decide.
	QPS   float32
	Burst int
	// HealthBindAddress is where /healthz and /readyz are served. Empty means nowhere.
	HealthBindAddress string
	// MetricsBindAddress is where /metrics is served. Empty means nowhere.
	MetricsBindAddress string
	// MetricsSecure has metrics served over HTTPS, to those whom the API server allows it.
	MetricsSecure bool
	// TLSCertFile and TLSPrivateKeyFile are the certificate of that, in PEM. Empty means one
	// that is signed by itself.
	TLSCertFile, TLSPrivateKeyFile string
	// Profiling adds /debug/pprof/ to what is served beside /metrics.
	Profiling bool
	// LeaderElection says whether and how replicas of the operator agree on who acts.
	LeaderElection componentbaseconfig.LeaderElectionConfiguration
	// Logging says how to log.
	Logging *logsapi.LoggingConfiguration
	// ShowVersion asks for the version only.
	ShowVersion bool
}

// NewOptions returns the defaults.
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
			// A replica that stands by looks at the lease after one to 2.2 times this period, and
			// so acts less than two seconds after it was given up.
			RetryPeriod: metav1.Duration{Duration: 750 * time.Millisecond},
		},
		Logging: logsapi.NewLoggingConfiguration(),
	}
}

// scopes returns the namespaces that are watched, or metav1.NamespaceAll.
func (o *Options) scopes() []string {
	if len(o.Namespaces) == 0 {
		return []string{metav1.NamespaceAll}
	}
	return o.Namespaces
}

// AddFlags adds a flag for each option.
func (o *Options) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "Path to a kubeconfig file. Leave it out when the operator runs in the cluster that it serves.")
	fs.StringSliceVar(&o.Namespaces, "namespace", o.Namespaces, "A namespace in which Rays are kept. Can be repeated. Without it, all are.")
	fs.IntVar(&o.Workers, "workers", o.Workers, "How many Rays are synced at a time.")
	fs.Float32Var(&o.QPS, "kube-api-qps", o.QPS, "Requests to the API server per second, on average, but for leader election. Negative means no limit of the operator's own.")
	fs.IntVar(&o.Burst, "kube-api-burst", o.Burst, "Requests to the API server at once, where --kube-api-qps limits them.")
	fs.StringVar(&o.HealthBindAddress, "health-bind-address", o.HealthBindAddress, "Address on which /healthz and /readyz are served, over HTTP. Empty means nowhere.")
	fs.StringVar(&o.MetricsBindAddress, "metrics-bind-address", o.MetricsBindAddress, "Address on which /metrics is served. Empty means nowhere.")
	fs.BoolVar(&o.MetricsSecure, "metrics-secure", o.MetricsSecure, "Serve metrics over HTTPS, to whom the API server allows to get /metrics. With false it is HTTP, to anybody.")
	fs.StringVar(&o.TLSCertFile, "tls-cert-file", o.TLSCertFile, "File with the certificate for HTTPS, followed by those between it and its authority. Read again when it changes. Without it, the operator signs one itself.")
	fs.StringVar(&o.TLSPrivateKeyFile, "tls-private-key-file", o.TLSPrivateKeyFile, "File with the private key of --tls-cert-file.")
	fs.BoolVar(&o.Profiling, "profiling", o.Profiling, "Serve profiles at /debug/pprof/, beside /metrics: over HTTPS to whom the API server allows to get that path, over HTTP to everybody.")
	fs.BoolVar(&o.ShowVersion, "version", o.ShowVersion, "Print the version and exit.")
	configoptions.BindLeaderElectionFlags(&o.LeaderElection, fs)
	logsapi.AddFlags(o.Logging, fs)
}

// Parse sets the options from arguments. It returns pflag.ErrHelp if they only ask for
// help, which is then printed.
func (o *Options) Parse(args []string) error {
	fs := pflag.NewFlagSet("ray-operator", pflag.ContinueOnError)
	fs.SetOutput(os.Stdout)
	fs.Usage = func() {
		fmt.Printf("Runs Ray clusters on Kubernetes, as Ray objects (ray.kubeflow.org/v1) ask for them.\n\nFlags:\n%s", fs.FlagUsages())
	}
	o.AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: there are only flags, see --help", fs.Arg(0))
	}
	return o.Validate()
}

// Validate returns an error that names the first flag that makes no sense.
func (o *Options) Validate() error {
	for i, namespace := range o.Namespaces {
		if len(validation.IsDNS1123Label(namespace)) > 0 {
			return fmt.Errorf("--namespace=%q is not the name of a namespace", namespace)
		}
		if slices.Contains(o.Namespaces[:i], namespace) {
			return fmt.Errorf("--namespace=%s is there twice", namespace)
		}
	}
	switch {
	case o.Workers < 1:
		return fmt.Errorf("--workers=%d: at least 1 is needed", o.Workers)
	case o.QPS == 0:
		return errors.New("--kube-api-qps=0 would allow no request: use a negative number for no limit")
	case o.Profiling && o.MetricsBindAddress == "":
		return errors.New("--profiling needs a --metrics-bind-address to serve profiles on")
	case (o.TLSCertFile == "") != (o.TLSPrivateKeyFile == ""):
		return errors.New("--tls-cert-file and --tls-private-key-file need each other")
	case o.TLSCertFile != "" && (!o.MetricsSecure || o.MetricsBindAddress == ""):
		return errors.New("--tls-cert-file is for metrics over HTTPS, which are not served")
	case o.QPS > 0 && o.Burst < 1:
		return fmt.Errorf("--kube-api-burst=%d: at least 1 is needed with --kube-api-qps", o.Burst)
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
		return errors.New("--leader-elect needs --leader-elect-resource-name and --leader-elect-resource-namespace")
	case election.RetryPeriod.Duration <= 0:
		return errors.New("--leader-elect-retry-period must be positive")
	case election.RenewDeadline.Duration <= election.RetryPeriod.Duration*6/5:
		return errors.New("--leader-elect-renew-deadline must be over 1.2 times --leader-elect-retry-period")
	case election.LeaseDuration.Duration%time.Second != 0:
		// A lease has whole seconds, by which others go.
		return errors.New("--leader-elect-lease-duration must be in whole seconds")
	case election.LeaseDuration.Duration <= 2*election.RenewDeadline.Duration:
		// A replica that cannot renew its lease may spend as long again on releasing it
		// before it stops, and must have stopped when another one takes over.
		return errors.New("--leader-elect-lease-duration must be over twice --leader-elect-renew-deadline")
	}
	return nil
}
