package faults

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
)

// sharedOperator is an operator in a namespace that the cases of a family share, each with Rays
// of its own names. It begins with the first case and ends after the last.
type sharedOperator struct {
	family string

	once      sync.Once
	err       error
	namespace string
	dir       string
	operator  *operator
	// ended is closed when the operator's process has ended by itself.
	ended chan struct{}
}

// makeNamespace makes the namespace, if that was not done yet.
func (s *sharedOperator) makeNamespace(ctx context.Context) error {
	if s.namespace != "" {
		return nil
	}
	namespace, err := kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "faults-" + s.family + "-"},
	}, metav1.CreateOptions{})
	if err == nil {
		s.namespace = namespace.Name
	}
	return err
}

// open starts the operator, if no case has done so before.
func (s *sharedOperator) open(t *testing.T) {
	t.Helper()
	s.once.Do(func() { s.err = s.start() })
	if s.err != nil {
		t.Fatal(s.err)
	}
}

func (s *sharedOperator) start() error {
	err := s.makeNamespace(context.Background())
	if err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "faults-"+s.family+"-"); err != nil {
		return err
	}
	if s.operator, err = newOperator("operator", s.namespace, s.dir); err != nil {
		return err
	}
	s.ended = make(chan struct{})
	go func() {
		<-s.operator.crashed
		close(s.ended)
	}()
	return s.operator.start()
}

// close ends the operator, if it has begun, and judges how its process went.
func (s *sharedOperator) close(t *testing.T) {
	if s.operator == nil {
		return
	}
	h := &history.History{}
	if err := s.operator.close(h); err != nil {
		t.Error(err)
	}
	process := &history.History{Processes: h.Processes, Log: h.Log, Converged: time.Now()}
	for _, violation := range oracle.Check(process, &oracle.Expectation{}) {
		t.Errorf("the operator of %s: %v", s.family, violation)
	}
	if t.Failed() {
		t.Logf("the log of the operator of %s is in %s", s.family, s.dir)
		return
	}
	if err := os.RemoveAll(s.dir); err != nil {
		t.Error(err)
	}
}
