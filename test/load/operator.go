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

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/yaml"

	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// operator is the shipped binary as a process, with the flags and the environment of its Deployment.
type operator struct {
	binary     string
	kubeconfig string
	manifest   string // Of the Deployment.
	log        string
	flags      []string // Override those of the Deployment.
	health     string
	process    *harness.Process
}

// deployed returns the arguments and the environment of the Deployment's container.
func (o *operator) deployed() (args, env []string, err error) {
	data, err := os.ReadFile(o.manifest)
	if err != nil {
		return nil, nil, err
	}
	var deployment appsv1.Deployment
	if err := yaml.UnmarshalStrict(data, &deployment); err != nil {
		return nil, nil, fmt.Errorf("decoding %s: %w", o.manifest, err)
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

// start starts the operator and waits until it is ready.
func (o *operator) start(ctx context.Context) error {
	args, env, err := o.deployed()
	if err != nil {
		return err
	}
	if o.health, err = harness.FreeAddress(ctx); err != nil {
		return err
	}
	args = append([]string{"--kubeconfig", o.kubeconfig, "--health-bind-address", o.health, "--metrics-bind-address=127.0.0.1:0"}, args...)
	// ctx does not kill the process, so that stop can shut it down.
	command := exec.CommandContext(context.WithoutCancel(ctx), o.binary, args...)
	command.Env = append([]string{"HOME=" + os.TempDir()}, env...)
	if o.process, err = harness.StartProcess(command, o.log); err != nil {
		return fmt.Errorf("starting the operator: %w", err)
	}
	return o.waitReady(ctx)
}

// waitReady waits until the operator is ready. It polls often, since the time is measured.
func (o *operator) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	err := wait.PollUntilContextCancel(ctx, 5*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		if state := o.process.State(); state != nil {
			return false, fmt.Errorf("exited with %v", state)
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.health+"/readyz", http.NoBody)
		if err != nil {
			return false, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, nil //nolint:nilerr // It is not listening yet.
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the operator, with the log %s: %w", o.log, err)
	}
	return nil
}

// stop shuts the operator down.
func (o *operator) stop() error {
	if o.process == nil {
		return nil
	}
	process := o.process
	o.process = nil
	if err := process.Stop(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping the operator: %w", err)
	}
	if state := process.State(); !state.Success() {
		return fmt.Errorf("the operator exited with %v, its log is %s", state, o.log)
	}
	return nil
}

// pid returns the ID of the operator's process, or 0 if it is not running.
func (o *operator) pid() int {
	if o.process == nil {
		return 0
	}
	return o.process.PID()
}
