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

package harness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Operator is the operator as a process outside the cluster. It can be started again after it was
// stopped.
type Operator struct {
	Binary     string
	Kubeconfig string
	// Log is the path of the log of all its processes.
	Log  string
	Args []string
	// HealthAddress is where the newest process serves /readyz. Launch sets it.
	HealthAddress string
	// Process is the newest process.
	Process *Process
}

// NewOperator prepares an operator that has the permissions of the operator's ServiceAccount.
func (c *Cluster) NewOperator(ctx context.Context, name string, args ...string) (*Operator, error) {
	config, err := c.OperatorKubeconfig(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ray-operator-"+name+"-")
	if err != nil {
		return nil, err
	}
	o := &Operator{
		Binary:     c.Path("bin/ray-operator"),
		Kubeconfig: filepath.Join(dir, "kubeconfig"),
		Log:        filepath.Join(dir, "log"),
		Args:       args,
	}
	return o, os.WriteFile(o.Kubeconfig, config, 0o600)
}

// Start starts the operator and waits until it is ready.
func (o *Operator) Start(ctx context.Context) error {
	if err := o.Launch(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	return Poll(ctx, func() error { return o.Ready(ctx) })
}

// Launch starts the operator. It keeps running after ctx is done.
func (o *Operator) Launch(ctx context.Context) error {
	var err error
	if o.HealthAddress, err = FreeAddress(ctx); err != nil {
		return err
	}
	args := append([]string{"--kubeconfig", o.Kubeconfig, "--health-bind-address", o.HealthAddress, "--metrics-bind-address=127.0.0.1:0", "-v=4"}, o.Args...)
	command := exec.CommandContext(context.WithoutCancel(ctx), o.Binary, args...)
	// The process panics if it has changed an object of its caches.
	command.Env = append(os.Environ(), "KUBE_CACHE_MUTATION_DETECTOR=true")
	o.Process, err = StartProcess(command, o.Log)
	return err
}

// Ready returns an error unless the operator is ready.
func (o *Operator) Ready(ctx context.Context) error {
	if o.Process.State() != nil {
		return fmt.Errorf("the operator has exited; its log is %s", o.Log)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.HealthAddress+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// Stop shuts the operator down, if it is running.
func (o *Operator) Stop() {
	if o.Process == nil {
		return
	}
	if err := o.Process.Stop(syscall.SIGTERM); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
