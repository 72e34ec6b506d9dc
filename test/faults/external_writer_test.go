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
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
)

const (
	// externalRate is the number of writes of an external writer per second.
	externalRate = 50
	// externalWrites is the number of its writes in total.
	externalWrites = 10 * externalRate
	// externalParallel is the number of its writes in flight. It keeps the rate if the API server
	// is slower than the interval between two writes.
	externalParallel = 4
	// maxExternalReverts is the number of reverts of an external writer: three at once, and then 1, 2, 4
	// and 8 s apart while it writes, and one afterwards.
	maxExternalReverts = 8
	// externalTimeout covers the wait for other external writers.
	externalTimeout = 5 * time.Minute
	// calmDown is how long a Ray may take to reach its goal after the last write: changes that follow
	// each other are reverted with a backoff of up to 8 s, and reported until 20 s after the last one.
	calmDown = 35 * time.Second
)

// externalWriter is another client that writes to an object continuously. Its last write leaves no
// change that the operator would not revert.
type externalWriter struct {
	name     string
	resource string
	object   string
	// patch returns a patch of the object.
	patch func(write int) string
	// answer is the update by which the operator reverts or follows a write. It is empty if the
	// operator does not manage what is written.
	answer string
}

var externalWriters = []externalWriter{
	{name: "ray/annotations", resource: history.Rays, object: rayName, patch: annotate},
	{name: "ray/scale", resource: history.Rays, object: rayName, answer: updateWorker, patch: func(write int) string {
		return fmt.Sprintf(`{"spec":{"worker":{"replicas":%d}}}`, 2+(externalWrites-write)%2)
	}},
	{name: "service/annotations", resource: history.Services, object: rayName + "-head", patch: annotate},
	{name: "service/selector", resource: history.Services, object: rayName + "-head", answer: updateService, patch: func(write int) string {
		return fmt.Sprintf(`{"spec":{"selector":{"ray.kubeflow.org/role":"n%d"}}}`, write)
	}},
	{name: "head/annotations", resource: history.Deployments, object: rayName + "-head", patch: annotate},
	{name: "head/template", resource: history.Deployments, object: rayName + "-head", answer: updateHead, patch: func(write int) string {
		return fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"head","image":"example.com/%d"}]}}}}`, write)
	}},
	{name: "worker/annotations", resource: history.Deployments, object: rayName + "-worker", patch: annotate},
	{name: "worker/replicas", resource: history.Deployments, object: rayName + "-worker", answer: updateWorker, patch: func(write int) string {
		return fmt.Sprintf(`{"spec":{"replicas":%d}}`, 3+write%2)
	}},
}

// annotate returns a patch of an annotation, which the operator does not manage.
func annotate(write int) string {
	if write == externalWrites {
		return `{"metadata":{"annotations":{"example.com/note":null}}}`
	}
	return fmt.Sprintf(`{"metadata":{"annotations":{"example.com/note":"%d"}}}`, write)
}

// externalMu limits the external writers to one at a time, to protect the API server.
var externalMu sync.Mutex

// run writes at the rate, and reports if the machine was too slow for it.
func (w *externalWriter) run(ctx context.Context, namespace string) error {
	externalMu.Lock()
	defer externalMu.Unlock()
	write := func(number int) error {
		if err := patch(ctx, namespace, w.resource, w.object, w.patch(number)); err != nil {
			return fmt.Errorf("external writer: %w", err)
		}
		return nil
	}
	start := time.Now()
	var writes errgroup.Group
	writes.SetLimit(externalParallel)
	tick := time.NewTicker(time.Second / externalRate)
	defer tick.Stop()
	for i := range externalWrites - 1 {
		writes.Go(func() error { return write(i + 1) })
		<-tick.C
	}
	if err := writes.Wait(); err != nil {
		return err
	}
	if rate := externalWrites / time.Since(start).Seconds(); rate < 0.9*externalRate {
		fmt.Fprintf(os.Stderr, "external-writer/%s: only %.0f writes per second: the machine is too slow\n", w.name, rate)
	}
	return write(externalWrites)
}

// externalWriterCases run an external writer against a Ray or one of its children.
func externalWriterCases() []faultCase {
	var cases []faultCase
	for i := range externalWriters {
		writer := &externalWriters[i]
		c := faultCase{
			name:     "external-writer/" + writer.name,
			timeout:  externalTimeout,
			workload: &workload{name: "none", from: newSpec(), to: newSpec(), steps: []step{writer.run}},
			then: func(ctx context.Context, s *setup, goal goal) error {
				ctx, cancel := context.WithTimeout(ctx, calmDown)
				defer cancel()
				return s.await(ctx, goal)
			},
		}
		switch {
		case writer.answer != "":
			// Each external write may cause one update, or make one fail.
			c.allowance = oracle.Allowance{LostEvents: true, Reverts: map[string]int{writer.answer: externalWrites}, Rejected: externalWrites, Recoveries: externalWrites}
			if writer.resource != history.Rays {
				// The operator waits longer and longer, and reports the other client once.
				c.allowance.Reverts[writer.answer] = maxExternalReverts
				c.allowance.ProblemStatuses, c.allowance.WarningEvents = 2, 1
			}
		case writer.resource == history.Deployments:
			c.allowance.StaleRecords = true
		}
		cases = append(cases, c)
	}
	return cases
}

// patch patches an object of a resource.
func patch(ctx context.Context, namespace, resource, name, patch string) error {
	var err error
	switch resource {
	case history.Rays:
		_, err = rays.RayV1().Rays(namespace).Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	case history.Services:
		_, err = kube.CoreV1().Services(namespace).Patch(ctx, name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	case history.Deployments:
		_, err = kube.AppsV1().Deployments(namespace).Patch(ctx, name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	}
	return err
}
