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
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
)

// malformedCount is the number of malformed Rays.
const malformedCount = 500

// validRay is the name of a valid Ray in the same namespace.
const validRay = "valid"

// malformedSetup is the namespace of the family, in which all malformed Rays were stored under a
// schema without validation, and its only operator.
type malformedSetup struct {
	sharedOperator

	// validMu is held while a case changes the valid Ray.
	validMu sync.Mutex
	changes int
}

var malformed = malformedSetup{sharedOperator: sharedOperator{family: "malformed"}}

// malformedCases have one malformed Ray each. It must report its error, must not affect other Rays,
// and must be reconciled once it is corrected.
func malformedCases() []testCase {
	var cases []testCase
	for i := range malformedCount {
		ray := newMalformed(i)
		cases = append(cases, testCase{name: "malformed/" + ray.name, always: i < 10, run: ray.run})
	}
	return cases
}

// malformedRay is a Ray that the schema rejects, or that Kubernetes rejects in a Deployment.
type malformedRay struct {
	name    string
	content map[string]any
}

// storedRay is a stored Ray. Its spec and status may have any type.
type storedRay struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     json.RawMessage   `json:"spec"`
	Status   json.RawMessage   `json:"status"`
}

// run runs the case of one Ray.
func (m *malformedRay) run(t *testing.T) {
	malformed.open(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*(*stepTimeout))
	defer cancel()

	if err := poll(ctx, func() error { return m.checkReported(ctx) }); err != nil {
		t.Fatalf("while it is malformed: %v", err)
	}
	if err := checkValidRay(ctx); err != nil {
		t.Fatalf("the valid Ray: %v", err)
	}
	time.Sleep(idleWindow) // for more writes, which checkWrites would find
	m.checkWrites(ctx, t)

	good, err := json.Marshal(validSpec)
	if err != nil {
		t.Fatal(err)
	}
	patch := fmt.Appendf(nil, `[{"op":"add","path":"/spec","value":%s}]`, good)
	_, err = raw(ctx, "PATCH", m.name, patch)
	switch {
	case apierrors.IsInvalid(err) && m.statusIsRejected():
		// The API server rejects any spec because of this status, and any status because of this
		// spec. Such a Ray can only be deleted.
	case err != nil:
		t.Fatalf("correcting the spec: %v", err)
	default:
		if err := poll(ctx, func() error { return checkHealthy(ctx, m.name) }); err != nil {
			t.Fatalf("after correcting the spec: %v", err)
		}
	}
	if _, err := raw(ctx, "DELETE", m.name, nil); err != nil {
		t.Fatalf("deleting the Ray: %v", err)
	}
	if err := poll(ctx, func() error { return checkGone(ctx, m.name) }); err != nil {
		t.Fatalf("after deleting the Ray: %v", err)
	}
	select {
	case <-malformed.exited:
		t.Fatal("the operator exited on its own")
	default:
	}
}

// checkReported checks the children and the status while the Ray is malformed:
//
//   - A Ray with a spec that cannot be decoded has no children, and one Warning event. Health has the
//     same message, unless the API server rejects any status because rules of the schema fail.
//   - Any other Ray has the children that Kubernetes accepts, and Health is True only if it accepts
//     all of them.
func (m *malformedRay) checkReported(ctx context.Context) error {
	ray, err := read(ctx, m.name)
	if err != nil {
		return err
	}
	typed := &rayv1.Ray{ObjectMeta: ray.Metadata}
	if len(ray.Spec) > 0 && json.Unmarshal(ray.Spec, &typed.Spec) != nil {
		return m.checkUnreadable(ctx, ray)
	}
	accepted, err := checkChildren(ctx, typed)
	if err != nil {
		return err
	}
	health, generation, err := healthOf(ray)
	switch {
	case err != nil:
		return err
	case health == nil || generation != ray.Metadata.Generation:
		return fmt.Errorf("generation %d is not observed", ray.Metadata.Generation)
	case health.Status == corev1.ConditionTrue && !accepted:
		return errors.New("it is healthy, but children are missing")
	case health.Status != corev1.ConditionTrue && accepted && !slices.Contains([]string{"RolloutIncomplete", "PodFailure", "Suspended"}, health.Reason):
		return fmt.Errorf("Kubernetes accepts all children, but Health is %+v", health)
	case health.Status == corev1.ConditionUnknown, health.Status == corev1.ConditionFalse && (health.Reason == "" || health.Message == ""):
		return fmt.Errorf("Health is %+v", health)
	}
	return nil
}

func (m *malformedRay) checkUnreadable(ctx context.Context, ray *storedRay) error {
	for _, name := range []string{m.name + "-head", m.name + "-worker"} {
		if _, err := kube.AppsV1().Deployments(malformed.namespace).Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return errors.Join(fmt.Errorf("Deployment %q must not exist", name), err)
		}
	}
	if _, err := kube.CoreV1().Services(malformed.namespace).Get(ctx, m.name+"-head", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return errors.Join(fmt.Errorf("Service %q must not exist", m.name+"-head"), err)
	}
	events, err := kube.CoreV1().Events(malformed.namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + m.name})
	if err != nil {
		return err
	}
	if len(events.Items) != 1 || events.Items[0].Reason != "Unreadable" || events.Items[0].Count != 1 {
		return fmt.Errorf("the events are %v, want one with reason Unreadable", events.Items)
	}
	if m.statusIsRejected() {
		return nil
	}
	health, generation, err := healthOf(ray)
	if err != nil {
		return err
	}
	if health == nil || health.Status != corev1.ConditionFalse || health.Reason != "Unreadable" || health.Message != events.Items[0].Message || generation != ray.Metadata.Generation {
		return fmt.Errorf("Health is %+v, for generation %d", health, generation)
	}
	return nil
}

// statusIsRejected reports whether the API server has rejected the Ray's status as invalid.
func (m *malformedRay) statusIsRejected() bool {
	for _, write := range malformed.operator.proxy.Writes() {
		if write.What() == "update rays/status/"+m.name && write.Code == 422 {
			return true
		}
	}
	return false
}

// rejectedInterval is the minimum interval between two statuses that the API server rejects as invalid.
const rejectedInterval = 5 * time.Minute

// checkWrites limits the status writes.
func (m *malformedRay) checkWrites(ctx context.Context, t *testing.T) {
	t.Helper()
	count := 0
	var rejected time.Time
	for _, write := range malformed.operator.proxy.Writes() {
		switch {
		case write.What() != "update rays/status/"+m.name:
		case write.Code != 422:
			count++
		case !rejected.IsZero() && write.At.Sub(rejected) < rejectedInterval-time.Second:
			t.Errorf("the status was rejected twice within %s", write.At.Sub(rejected))
		default:
			rejected = write.At
		}
	}
	ray, err := read(ctx, m.name)
	if err != nil {
		t.Fatal(err)
	}
	// The first status, the end state, and one between them. The Ray has existed since the first case of
	// its family: if its Pods do not become ready, the progress deadline of its Deployments, ten minutes, is
	// reported when it is exceeded.
	limit := 3 + strings.Count(string(ray.Status), `"ProgressDeadlineExceeded"`)
	if count > limit {
		t.Errorf("the status was written %d times, want at most %d", count, limit)
	}
}

// checkChildren checks that the children exist that Kubernetes accepts, workers only beside a head, and
// reports whether it accepts all of them.
func checkChildren(ctx context.Context, ray *rayv1.Ray) (bool, error) {
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	accepted := true
	check := func(err error) error {
		switch {
		case apierrors.IsAlreadyExists(err):
			return nil
		case err == nil:
			return errors.New("Kubernetes accepts a child, but it does not exist")
		default:
			accepted = false
			return nil
		}
	}
	_, err := kube.CoreV1().Services(ray.Namespace).Create(ctx, resources.NewService(ray), dry)
	if err := check(err); err != nil {
		return false, err
	}
	headAccepted := true
	for _, group := range resources.Groups(ray) {
		_, err := kube.AppsV1().Deployments(ray.Namespace).Create(ctx, resources.NewDeployment(ray, group), dry)
		if group.Role == rayv1.RoleHead {
			headAccepted = err == nil || apierrors.IsAlreadyExists(err)
		} else if !headAccepted { // without a head, there are no workers
			if apierrors.IsAlreadyExists(err) {
				return false, errors.New("there are workers, though Kubernetes rejects the head")
			}
			accepted = false
			continue
		}
		if err := check(err); err != nil {
			return false, err
		}
	}
	return accepted, nil
}

// checkValidRay changes the valid Ray and waits until it is healthy, unless another case is doing so.
func checkValidRay(ctx context.Context) error {
	if !malformed.validMu.TryLock() {
		return nil
	}
	defer malformed.validMu.Unlock()
	malformed.changes++
	patch := fmt.Appendf(nil, `[{"op":"add","path":"/spec/head/template/metadata","value":{"labels":{"change":"%d"}}}]`, malformed.changes%2)
	if _, err := raw(ctx, "PATCH", validRay, patch); err != nil {
		return err
	}
	return poll(ctx, func() error { return checkHealthy(ctx, validRay) })
}

// checkHealthy checks that a Ray without Pods is as desired: it has no head, and so is suspended.
func checkHealthy(ctx context.Context, name string) error {
	ray, err := read(ctx, name)
	if err != nil {
		return err
	}
	health, generation, err := healthOf(ray)
	if err != nil {
		return err
	}
	if health == nil || health.Reason != "Suspended" || generation != ray.Metadata.Generation {
		return fmt.Errorf("Health is %+v for generation %d, want the reason Suspended for %d", health, generation, ray.Metadata.Generation)
	}
	return nil
}

func checkGone(ctx context.Context, name string) error {
	_, err := read(ctx, name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return errors.Join(fmt.Errorf("Ray %q must not exist", name), err)
}

// healthOf returns the condition Health of a Ray, nil if it has none, and its observed generation.
// The error is that Ready differs from Health.
func healthOf(ray *storedRay) (*rayv1.RayCondition, int64, error) {
	var status rayv1.RayStatus
	if json.Unmarshal(ray.Status, &status) != nil {
		return nil, 0, nil //nolint:nilerr // a malformed status has no condition
	}
	i := slices.IndexFunc(status.Conditions, func(c rayv1.RayCondition) bool { return c.Type == rayv1.RayHealth })
	if i < 0 {
		return nil, 0, nil
	}
	// A status that was stored with the Ray has no Ready until the operator updates it.
	if status.ObservedGeneration == ray.Metadata.Generation && !oracle.ReadyEqualsHealth(&status) {
		return nil, 0, fmt.Errorf("Ready differs from Health: %+v", status.Conditions)
	}
	return &status.Conditions[i], status.ObservedGeneration, nil
}

// read reads a Ray without decoding its spec and status.
func read(ctx context.Context, name string) (*storedRay, error) {
	data, err := raw(ctx, "GET", name, nil)
	if err != nil {
		return nil, err
	}
	ray := &storedRay{}
	return ray, json.Unmarshal(data, ray)
}

// raw sends a request for a Ray and returns the response as bytes.
func raw(ctx context.Context, verb, name string, body []byte) ([]byte, error) {
	request := rays.RayV1().RESTClient().Verb(verb).Namespace(malformed.namespace).Resource("rays").Name(name)
	if body != nil {
		request = request.SetHeader("Content-Type", string(types.JSONPatchType)).Body(body)
	}
	return request.Do(ctx).Raw()
}

// poll polls until check returns nil.
func poll(ctx context.Context, check func() error) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(context.Context) (bool, error) {
		err := check()
		if ctx.Err() == nil {
			last = err // do not replace it by the timeout
		}
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", err, last)
	}
	return nil
}
