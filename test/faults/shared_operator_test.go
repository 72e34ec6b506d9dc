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

// sharedOperator is an operator in a namespace that the cases of a family share. Each case has a
// Ray of its own. The operator runs from the first case to the last.
type sharedOperator struct {
	family string

	once      sync.Once
	err       error
	namespace string
	dir       string
	operator  *operator
	// exited is closed when the operator has exited on its own.
	exited chan struct{}
}

// createNamespace creates the namespace unless it exists.
func (s *sharedOperator) createNamespace(ctx context.Context) error {
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

// open starts the operator unless another case has started it.
func (s *sharedOperator) open(t *testing.T) {
	t.Helper()
	s.once.Do(func() { s.err = s.start() })
	if s.err != nil {
		t.Fatal(s.err)
	}
}

func (s *sharedOperator) start() error {
	err := s.createNamespace(context.Background())
	if err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "faults-"+s.family+"-"); err != nil {
		return err
	}
	if s.operator, err = newOperator("operator", s.namespace, s.dir); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func() {
		<-s.operator.crashed
		close(s.exited)
	}()
	return s.operator.start()
}

// close stops the operator if it was started, and checks its process.
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
		t.Errorf("operator of %s: %v", s.family, violation)
	}
	if t.Failed() {
		t.Logf("log of the operator of %s: %s", s.family, s.dir)
		return
	}
	if err := os.RemoveAll(s.dir); err != nil {
		t.Error(err)
	}
}
