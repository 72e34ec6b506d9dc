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

// operator is an operator behind a proxy. It outlives its processes.
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
	// started is when the process was started, and began how long the log was then.
	started time.Time
	began   int64
	// crashed gets a value whenever the process was killed by the proxy, or has ended by itself.
	crashed chan struct{}
	// stalled is called when the proxy keeps a write on its way.
	stalled func()
}

// newOperator returns an operator that keeps the Rays of a namespace, with its files in dir.
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
	enter(namespace, o.proxy)
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

// mutationDetector makes informers keep a copy of each object that they have had, and compare.
const mutationDetector = "KUBE_CACHE_MUTATION_DETECTOR=true"

// newOperatorOf returns an operator for a test. Those of every fifth test look in themselves
// for data races, and for changes of what their caches hold.
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
	if o.began, err = log.Seek(0, io.SeekEnd); err != nil {
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
		_ = command.Wait() // how it ended is for those to say who ended it
		close(exited)
		o.revive(command)
	}()
	o.command, o.exited = command, exited
	return nil
}

// revive starts an operator anew whose process ended by itself, as kubelet would.
func (o *operator) revive(ended *exec.Cmd) {
	o.mu.Lock()
	byItself := o.command == ended
	if byItself {
		o.command = nil
		o.processes = append(o.processes, history.Process{ByItself: true, ExitCode: ended.ProcessState.ExitCode(), LastWords: o.lastWords()})
	}
	o.mu.Unlock()
	if byItself {
		o.crashed <- struct{}{}
	}
}

// restartAfterCrashes starts the operator anew whenever it has ended.
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

// end sends the process a signal and waits until it is no more.
func (o *operator) end(signal syscall.Signal) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.command == nil {
		return
	}
	_ = o.command.Process.Signal(signal) // it may have ended by itself, as the exit code tells
	select {
	case <-o.exited:
	case <-time.After(*patience):
		_ = o.command.Process.Kill()
		<-o.exited
	}
	state := o.command.ProcessState
	status, ok := state.Sys().(syscall.WaitStatus)
	// One that has just been started dies of any signal, since it does not handle them yet. It
	// does before its first words.
	killed := ok && status.Signaled() && status.Signal() == signal && (signal == syscall.SIGKILL || o.silent())
	o.processes = append(o.processes, history.Process{Killed: killed, ExitCode: state.ExitCode(), LastWords: o.lastWords()})
	o.command = nil
}

// silent tells whether the process has said nothing since it was started.
func (o *operator) silent() bool {
	log, err := os.Stat(o.log)
	return err == nil && log.Size() == o.began
}

// lastWords returns what the process that has just ended said about why.
func (o *operator) lastWords() string {
	log, err := os.ReadFile(o.log)
	if err != nil {
		return err.Error()
	}
	const prefix = "\nray-operator: "
	log = log[min(o.began, int64(len(log))):]
	begin := bytes.LastIndex(log, []byte(prefix))
	if begin < 0 {
		return ""
	}
	words, _, _ := bytes.Cut(log[begin+len(prefix):], []byte("\n"))
	return string(words)
}

// signal sends the process a signal that does not end it.
func (o *operator) signal(signal syscall.Signal) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.command == nil {
		return fmt.Errorf("sending %v: the operator does not run", signal)
	}
	return o.command.Process.Signal(signal)
}

// close ends the process and its proxy, and adds what is known of them to a history.
func (o *operator) close(h *history.History) error {
	o.stop()
	o.proxy.Close()
	for _, write := range o.proxy.Writes() {
		write.ProcessEnded = write.At.Before(o.started)
		h.Writes = append(h.Writes, write)
	}
	h.Processes = append(h.Processes, o.processes...)
	log, err := os.ReadFile(o.log)
	h.Log += string(log)
	return err
}
