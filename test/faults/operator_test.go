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

package faults

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/proxy"
)

// operator is an operator that connects through a proxy. It may have several processes, one after
// the other.
type operator struct {
	proxy  *proxy.Proxy
	binary string
	log    string
	args   []string
	env    []string

	mu        sync.Mutex
	command   *exec.Cmd
	exited    chan struct{}
	processes []history.Process
	// started is when the process was started, and logStart the size of the log at that time.
	started  time.Time
	logStart int64
	// crashed receives a value when the proxy has killed the process, or it has exited on its own.
	crashed chan struct{}
	// stalled is called when the proxy stalls a write.
	stalled func()
}

// newOperator returns an operator for the Rays of a namespace, with its files in dir.
func newOperator(name, namespace, dir string, args ...string) (*operator, error) {
	// A test may have operators in several namespaces.
	file := filepath.Join(dir, name+"-"+namespace)
	o := &operator{binary: *binary, log: file + ".log", crashed: make(chan struct{}, 10)}
	var err error
	o.proxy, err = proxy.New(operatorConfig, proxy.Hooks{
		Crash: func() {
			o.kill()
			o.crashed <- struct{}{}
		},
		Stalled: func() { o.stalled() },
	})
	if err != nil {
		return nil, err
	}
	registerProxy(namespace, o.proxy)
	kubeconfig := file + ".kubeconfig"
	o.args = append([]string{
		"--kubeconfig", kubeconfig, "--namespace", namespace, "--health-bind-address=127.0.0.1:0",
		"--metrics-bind-address=127.0.0.1:0", "--metrics-secure=false", "--profiling", "-v=4",
	}, args...)
	return o, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"proxy": {Server: o.proxy.URL()}},
		Contexts:       map[string]*clientcmdapi.Context{"proxy": {Cluster: "proxy"}},
		CurrentContext: "proxy",
	}, kubeconfig)
}

// mutationDetector makes informers panic if a cached object was changed.
const mutationDetector = "KUBE_CACHE_MUTATION_DETECTOR=true"

// newOperatorOf returns an operator for a test. In every fifth test it runs with the race detector
// and the mutation detector.
func newOperatorOf(t *testing.T, name, namespace string, args ...string) *operator {
	t.Helper()
	o, err := newOperator(name, namespace, t.ArtifactDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	if *raceBinary != "" && hash(t.Name())%5 == 0 {
		o.binary = *raceBinary
		o.env = append(o.env, mutationDetector)
	}
	t.Cleanup(func() {
		o.kill()
		o.proxy.Close()
	})
	return o
}

// start starts a process.
func (o *operator) start() error {
	log, err := os.OpenFile(o.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.logStart, err = log.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	command := exec.CommandContext(context.Background(), o.binary, o.args...)
	command.Stdout, command.Stderr = log, log
	command.Env = append(os.Environ(), o.env...)
	o.started = time.Now()
	if err := command.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = command.Wait() // end and handleExit read the exit code
		close(exited)
		o.handleExit(command)
	}()
	o.command, o.exited = command, exited
	return nil
}

// handleExit reports a process that has exited on its own as a crash, so that it is restarted.
func (o *operator) handleExit(exited *exec.Cmd) {
	o.mu.Lock()
	unexpected := o.command == exited
	if unexpected {
		o.command = nil
		o.processes = append(o.processes, history.Process{Unexpected: true, ExitCode: exited.ProcessState.ExitCode(), ExitMessage: o.exitMessage()})
	}
	o.mu.Unlock()
	if unexpected {
		o.crashed <- struct{}{}
	}
}

// restartAfterCrashes restarts the operator after each crash, as the kubelet does.
func (o *operator) restartAfterCrashes(t *testing.T, finished <-chan struct{}) {
	for {
		select {
		case <-o.crashed:
			if err := o.start(); err != nil {
				t.Error(err)
			}
		case <-finished:
			return
		}
	}
}

// kill ends the process as a crash would.
func (o *operator) kill() { o.end(syscall.SIGKILL) }

// stop ends the process as a rollout would.
func (o *operator) stop() { o.end(syscall.SIGTERM) }

// end sends a signal to the process and waits for its exit.
func (o *operator) end(signal syscall.Signal) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.command == nil {
		return
	}
	_ = o.command.Process.Signal(signal) // it may have exited on its own, which the exit code shows
	select {
	case <-o.exited:
	case <-time.After(*stepTimeout):
		_ = o.command.Process.Kill()
		<-o.exited
	}
	state := o.command.ProcessState
	status, ok := state.Sys().(syscall.WaitStatus)
	// Any signal kills a process that has just been started and does not handle signals yet. At
	// that time it has not logged anything.
	killed := ok && status.Signaled() && status.Signal() == signal && (signal == syscall.SIGKILL || o.logIsEmpty())
	o.processes = append(o.processes, history.Process{Killed: killed, ExitCode: state.ExitCode(), ExitMessage: o.exitMessage()})
	o.command = nil
}

// logIsEmpty reports whether the process has not logged anything.
func (o *operator) logIsEmpty() bool {
	log, err := os.Stat(o.log)
	return err == nil && log.Size() == o.logStart
}

// exitMessage returns the error that the process printed when it exited, if any.
func (o *operator) exitMessage() string {
	log, err := os.ReadFile(o.log)
	if err != nil {
		return err.Error()
	}
	const prefix = "\nray-operator: "
	log = log[min(o.logStart, int64(len(log))):]
	index := bytes.LastIndex(log, []byte(prefix))
	if index < 0 {
		return ""
	}
	message, _, _ := bytes.Cut(log[index+len(prefix):], []byte("\n"))
	return string(message)
}

// signal sends a signal to the process that does not end it.
func (o *operator) signal(signal syscall.Signal) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.command == nil {
		return fmt.Errorf("sending %v: the operator is not running", signal)
	}
	return o.command.Process.Signal(signal)
}

// close stops the process and its proxy, and adds their records to a history.
func (o *operator) close(h *history.History) error {
	o.stop()
	o.proxy.Close()
	for _, write := range o.proxy.Writes() {
		write.ProcessExited = write.At.Before(o.started)
		h.Writes = append(h.Writes, write)
	}
	h.Processes = append(h.Processes, o.processes...)
	log, err := os.ReadFile(o.log)
	h.Log += string(log)
	return err
}
