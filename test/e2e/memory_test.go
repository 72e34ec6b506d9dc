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

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// TestMemory creates Services with the operator's label and 240 KB of annotations each, 72 MB in total,
// which are no children of a Ray: without an owner, and with forged owner references. A client that may
// only create objects in one namespace must not exhaust the memory of the operator.
func TestMemory(t *testing.T) {
	const (
		each = 100
		// maxGrowth is the limit of what these objects may cost. About 1 KiB of each is kept; the rest is
		// for garbage, of which there is more or less at any time.
		maxGrowth = 10 << 20
	)
	u := newUser(t)
	stopOperator(t)
	// Its caches show only what this test creates.
	o := newOperator(t, "memory", "--namespace", u.namespace, "--metrics-secure=false", "--profiling")
	// The cache mutation detector keeps copies for minutes, even of deleted objects.
	o.Binary = writeScript(t, "KUBE_CACHE_MUTATION_DETECTOR=false exec '"+o.Binary+"' \"$@\"")
	start(t, o)
	u.applySample()

	// Decoding large objects takes memory even if nothing of them is kept.
	services := cluster.Kube.CoreV1().Services(u.namespace)
	for range 20 {
		if err := errors.Join(u.createLargeService("first", nil), services.Delete(t.Context(), "first", metav1.DeleteOptions{})); err != nil {
			t.Fatal(err)
		}
	}
	u.waitServiceWatch()
	before := residentMemory(t, o)

	sample := metav1.NewControllerRef(u.ray("sample-cluster"), rayv1.SchemeGroupVersionKind)
	var mu sync.Mutex
	var errs []error
	workqueue.ParallelizeUntil(t.Context(), 4, each, func(i int) {
		// The garbage collector deletes the children of a Ray that does not exist.
		missing := *sample
		missing.Name = fmt.Sprintf("missing-%d", i)
		err := errors.Join(
			u.createLargeService(fmt.Sprintf("unowned-%d", i), nil),
			u.createLargeService(fmt.Sprintf("owned-%d", i), sample),
			u.createLargeService(missing.Name+"-head", &missing))
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		u.waitServiceWatch()
		u.eventually(fmt.Sprintf("%s the memory has grown by less than %d bytes", when, maxGrowth), func() error {
			after := residentMemory(t, o)
			if after-before >= maxGrowth {
				return fmt.Errorf("it has grown from %d to %d bytes", before, after)
			}
			t.Logf("%s the resident memory is %d KiB, before it was %d KiB", when, after>>10, before>>10)
			return nil
		})
	}
	check("after the Services were created,")
	o.Stop()
	start(t, o)
	check("after a restart,")
	u.waitHealthy("sample-cluster")
}

// createLargeService creates a Service with the operator's label, and a controller unless that is nil.
func (u *user) createLargeService(name string, controller *metav1.OwnerReference) error {
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Labels:      map[string]string{rayv1.LabelName: "x"},
			Annotations: map[string]string{"example.com/large": strings.Repeat("x", 240_000)},
		},
		Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Ports: []corev1.ServicePort{{Port: 1}}},
	}
	if controller != nil {
		service.OwnerReferences = []metav1.OwnerReference{*controller}
	}
	_, err := cluster.Kube.CoreV1().Services(u.namespace).Create(u.Context(), service, metav1.CreateOptions{})
	return err
}

// waitServiceWatch waits until the operator has seen all Services: it reverts a change of the sample's.
func (u *user) waitServiceWatch() {
	u.Helper()
	u.kubectl("patch", "service", "sample-cluster-head", "--type=merge", "-p", `{"spec":{"selector":{"changed":"x"}}}`)
	u.eventually("the Service is reverted", func() error {
		service, err := cluster.Kube.CoreV1().Services(u.namespace).Get(u.Context(), "sample-cluster-head", metav1.GetOptions{})
		if err == nil && service.Spec.Selector["changed"] != "" {
			err = fmt.Errorf("the selector is %v", service.Spec.Selector)
		}
		return err
	})
}

// residentMemory returns the resident memory of an operator in bytes, after a garbage collection. The
// operator must have the flags --metrics-secure=false and --profiling.
func residentMemory(t *testing.T, o *harness.Operator) int {
	t.Helper()
	if code, page := scrape(t, metricsURL(t, o, "http", "/debug/pprof/heap?gc=1"), ""); code != http.StatusOK {
		t.Fatalf("collecting garbage: %d %s", code, page)
	}
	_, page := scrape(t, metricsURL(t, o, "http", "/metrics"), "")
	_, value, _ := strings.Cut(page, "\nprocess_resident_memory_bytes ")
	value, _, _ = strings.Cut(value, "\n")
	memory, err := strconv.ParseFloat(value, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(memory)
}

// writeScript writes an executable shell script.
func writeScript(t *testing.T, script string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}
