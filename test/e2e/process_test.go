package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// process is an operator that can be stopped, killed and started again.
type process struct {
	// binary is a path in the repository, bin/ray-operator if it is empty.
	binary     string
	kubeconfig string
	log        string
	health     string
	args       []string
	command    *exec.Cmd
	exited     chan struct{}
}

// newProcess prepares an operator with the rights that it ships with.
func newProcess(name string, args ...string) (*process, error) {
	dir, err := os.MkdirTemp("", "ray-operator-e2e-"+name+"-")
	if err != nil {
		return nil, err
	}
	command := exec.Command(path("hack/operator-kubeconfig.sh"), path("bin/cluster/kubectl"))
	command.Env = append(os.Environ(), "KUBECONFIG="+*kubeconfig)
	config, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("making a kubeconfig for the operator: %w", err)
	}
	p := &process{
		kubeconfig: filepath.Join(dir, "kubeconfig"),
		log:        filepath.Join(dir, "log"),
		args:       args,
	}
	return p, os.WriteFile(p.kubeconfig, config, 0o600)
}

// start starts the operator and waits until it is ready.
func (p *process) start() error {
	if err := p.launch(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return poll(ctx, p.ready)
}

// launch starts the operator.
func (p *process) launch() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.health = listener.Addr().String()
	listener.Close()

	log, err := os.OpenFile(p.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append([]string{"--kubeconfig", p.kubeconfig, "--health-bind-address", p.health, "--metrics-bind-address=127.0.0.1:0", "-v=4"}, p.args...)
	p.command = exec.Command(path(cmp.Or(p.binary, "bin/ray-operator")), args...)
	// With it, the process ends when it has changed an object of its caches.
	p.command.Env = append(os.Environ(), "KUBE_CACHE_MUTATION_DETECTOR=true")
	p.command.Stdout, p.command.Stderr = log, log
	if err := p.command.Start(); err != nil {
		return err
	}
	p.exited = make(chan struct{})
	go func() {
		_ = p.command.Wait() // how it ended is for those to say who ended it
		close(p.exited)
	}()
	return nil
}

// ready returns an error unless the operator is ready.
func (p *process) ready() error {
	select {
	case <-p.exited:
		return fmt.Errorf("the operator has exited, its log is %s", p.log)
	default:
	}
	answer, err := http.Get("http://" + p.health + "/readyz")
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return nil
}

// signal sends a signal and waits for the end of the process.
func (p *process) signal(signal os.Signal) error {
	if err := p.command.Process.Signal(signal); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("the operator still runs %s after the signal %v", patience, signal)
	}
}

// stop ends the process, if it runs.
func (p *process) stop() {
	select {
	case <-p.exited:
	default:
		if err := p.signal(syscall.SIGTERM); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

// kill ends the operator as a crash would.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// restart starts an operator that was killed or stopped.
func (p *process) restart(t *testing.T) {
	t.Helper()
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
}
