package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/yaml"
)

// operator is the shipped binary as a process, with the flags and the environment that its
// Deployment has.
type operator struct {
	binary     string
	kubeconfig string
	manifest   string // of the Deployment
	log        string
	flags      []string // after the Deployment's, so that they win
	health     string
	command    *exec.Cmd
	exited     chan error // has how the process ended
}

// shipped returns the arguments and the environment of the Deployment's container.
func (o *operator) shipped() (args, env []string, err error) {
	data, err := os.ReadFile(o.manifest)
	if err != nil {
		return nil, nil, err
	}
	var deployment appsv1.Deployment
	if err := yaml.UnmarshalStrict(data, &deployment); err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", o.manifest, err)
	}
	container := deployment.Spec.Template.Spec.Containers[0]
	for _, arg := range container.Args {
		args = append(args, strings.ReplaceAll(arg, "$(POD_NAMESPACE)", deployment.Namespace))
	}
	for _, variable := range container.Env {
		if variable.Value != "" {
			env = append(env, variable.Name+"="+variable.Value)
		}
	}
	return append(args, o.flags...), env, nil
}

// start starts the operator and returns once it is ready.
func (o *operator) start(ctx context.Context) error {
	args, env, err := o.shipped()
	if err != nil {
		return err
	}
	if o.health, err = freeAddress(ctx); err != nil {
		return err
	}
	log, err := os.OpenFile(o.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	args = append([]string{"--kubeconfig", o.kubeconfig, "--health-bind-address", o.health, "--metrics-bind-address=127.0.0.1:0"}, args...)
	// It is stopped by stop: it may have to outlive ctx to end as it should.
	o.command = exec.CommandContext(context.WithoutCancel(ctx), o.binary, args...)
	o.command.Env = append([]string{"HOME=" + os.TempDir()}, env...)
	o.command.Stdout, o.command.Stderr = log, log
	if err := o.command.Start(); err != nil {
		return fmt.Errorf("starting the operator: %w", err)
	}
	o.exited = make(chan error, 1)
	go func(command *exec.Cmd) { o.exited <- command.Wait() }(o.command)
	return o.awaitReady(ctx)
}

func (o *operator) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	err := wait.PollUntilContextCancel(ctx, 5*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		select {
		case err := <-o.exited:
			o.command = nil
			return false, fmt.Errorf("it has ended: %w", err)
		default:
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.health+"/readyz", http.NoBody)
		if err != nil {
			return false, err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, nil //nolint:nilerr // It does not listen yet.
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK, nil
	})
	if err != nil {
		return fmt.Errorf("the operator does not get ready, its log is %s: %w", o.log, err)
	}
	return nil
}

// stop ends the operator as a cluster does, and returns when it is gone.
func (o *operator) stop() error {
	if o.command == nil {
		return nil
	}
	process := o.command.Process
	o.command = nil
	if err := process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping the operator, whose log is %s: %w", o.log, err)
	}
	if err := <-o.exited; err != nil {
		return fmt.Errorf("the operator did not end well, its log is %s: %w", o.log, err)
	}
	return nil
}

// pid returns the operator's process, or 0 if it does not run.
func (o *operator) pid() int {
	if o.command == nil {
		return 0
	}
	return o.command.Process.Pid
}

// freeAddress returns an address that nobody listens on.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
