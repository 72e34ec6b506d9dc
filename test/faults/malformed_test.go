package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
)

// malformedCount is how many malformed Rays there are.
const malformedCount = 500

// malformedScene is where the cases of the family take place: a namespace in which every
// malformed Ray was stored under a looser schema, and the only operator that keeps it.
type malformedScene struct {
	sharedOperator

	// neighbour is held while somebody changes the correct Ray.
	neighbour sync.Mutex
	turn      int
}

var malformed = malformedScene{sharedOperator: sharedOperator{family: "malformed"}}

// malformedCases have one malformed Ray each. The others must not suffer from it, it must
// say what is wrong with it, and once it is put right it must be as if nothing had been.
func malformedCases() []testCase {
	var cases []testCase
	for i := range malformedCount {
		ray := newMalformed(i)
		cases = append(cases, testCase{name: "malformed/" + ray.name, always: i < 10, run: ray.run})
	}
	return cases
}

// malformedRay is a Ray that the schema would not let pass, or only a part of the API
// server would.
type malformedRay struct {
	name    string
	content map[string]any
}

// storedRay is a Ray as the server has it, in which nothing need be what it should be.
type storedRay struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     json.RawMessage   `json:"spec"`
	Status   json.RawMessage   `json:"status"`
}

// run runs the case of one Ray.
func (m *malformedRay) run(t *testing.T) {
	malformed.open(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2**patience)
	defer cancel()

	if err := await(ctx, func() error { return m.checkVerdict(ctx) }); err != nil {
		t.Fatalf("malformed: %v", err)
	}
	if err := checkNeighbour(ctx); err != nil {
		t.Fatalf("the correct Ray beside it: %v", err)
	}
	time.Sleep(quietWindow) // in which nothing more may be written
	m.checkWrites(t)

	good, err := json.Marshal(healedSpec)
	if err != nil {
		t.Fatal(err)
	}
	patch := fmt.Appendf(nil, `[{"op":"add","path":"/spec","value":%s}]`, good)
	_, err = raw(ctx, "PATCH", m.name, patch)
	switch {
	case apierrors.IsInvalid(err) && m.statusIsRefused():
		// The API server takes neither a spec beside this status, nor a status beside this
		// spec. Such a Ray can only be deleted.
	case err != nil:
		t.Fatalf("correcting it: %v", err)
	default:
		if err := await(ctx, func() error { return checkHealthy(ctx, m.name) }); err != nil {
			t.Fatalf("corrected: %v", err)
		}
	}
	if _, err := raw(ctx, "DELETE", m.name, nil); err != nil {
		t.Fatalf("deleting it: %v", err)
	}
	if err := await(ctx, func() error { return checkGone(ctx, m.name) }); err != nil {
		t.Fatalf("deleted: %v", err)
	}
	select {
	case <-malformed.ended:
		t.Fatal("the operator has ended by itself")
	default:
	}
}

// checkVerdict checks that all is as it has to be while the Ray is malformed:
//
//   - A spec that the types cannot hold has no children, and one Warning event. Health says
//     the same, unless the API server refuses any status, since rules of the schema fail.
//   - Of any other, those children exist that Kubernetes accepts, and Health is True only
//     if it accepts them all.
func (m *malformedRay) checkVerdict(ctx context.Context) error {
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
	health, generation := healthOf(ray)
	switch {
	case health == nil || generation != ray.Metadata.Generation:
		return fmt.Errorf("nothing is said of generation %d", ray.Metadata.Generation)
	case health.Status == corev1.ConditionTrue && !accepted:
		return errors.New("it is healthy without all its children")
	case health.Status != corev1.ConditionTrue && accepted && health.Reason != "ReplicasMissing":
		return fmt.Errorf("all children are valid, but Health is %v", health)
	case health.Status == corev1.ConditionUnknown, health.Status == corev1.ConditionFalse && (health.Reason == "" || health.Message == ""):
		return fmt.Errorf("Health is %v", health)
	}
	return nil
}

func (m *malformedRay) checkUnreadable(ctx context.Context, ray *storedRay) error {
	for _, name := range []string{m.name + "-head", m.name + "-worker"} {
		if _, err := kube.AppsV1().Deployments(malformed.namespace).Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the Deployment %s: %w", name, errors.Join(err, errors.New("it should not exist")))
		}
	}
	if _, err := kube.CoreV1().Services(malformed.namespace).Get(ctx, m.name+"-head", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return errors.Join(err, errors.New("the Service should not exist"))
	}
	events, err := kube.CoreV1().Events(malformed.namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + m.name})
	if err != nil {
		return err
	}
	if len(events.Items) != 1 || events.Items[0].Reason != "Unreadable" || events.Items[0].Count != 1 {
		return fmt.Errorf("events are %v", events.Items)
	}
	if m.statusIsRefused() {
		return nil
	}
	health, generation := healthOf(ray)
	if health == nil || health.Status != corev1.ConditionFalse || health.Reason != "Unreadable" || health.Message != events.Items[0].Message || generation != ray.Metadata.Generation {
		return fmt.Errorf("Health is %v, of generation %d", health, generation)
	}
	return nil
}

// statusIsRefused tells whether the API server has refused the Ray's status as invalid.
func (m *malformedRay) statusIsRefused() bool {
	for _, write := range malformed.operator.proxy.Writes() {
		if write.What() == "update rays/status/"+m.name && write.Code == 422 {
			return true
		}
	}
	return false
}

// refusalTime is how long the operator waits at least before it sends a status once more that
// the API server has refused as invalid.
const refusalTime = 5 * time.Minute

// checkWrites checks that no more was written than it takes.
func (m *malformedRay) checkWrites(t *testing.T) {
	t.Helper()
	count := 0
	var refused time.Time
	for _, write := range malformed.operator.proxy.Writes() {
		switch {
		case write.What() != "update rays/status/"+m.name:
		case write.Code != 422:
			count++
		case !refused.IsZero() && write.At.Sub(refused) < refusalTime-time.Second:
			t.Errorf("its status was refused twice within %s", write.At.Sub(refused))
		default:
			refused = write.At
		}
	}
	// One more may tell progress.
	if count > 3 {
		t.Errorf("its status was written %d times", count)
	}
}

// checkChildren checks that those children of a Ray exist that Kubernetes accepts, and
// tells whether it accepts all of them.
func checkChildren(ctx context.Context, ray *rayv1.Ray) (bool, error) {
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	accepted := true
	check := func(err error) error {
		switch {
		case apierrors.IsAlreadyExists(err):
			return nil
		case err == nil:
			return errors.New("a child is missing that Kubernetes accepts")
		default:
			accepted = false
			return nil
		}
	}
	_, err := kube.CoreV1().Services(ray.Namespace).Create(ctx, resources.NewService(ray), dry)
	if err := check(err); err != nil {
		return false, err
	}
	for _, role := range []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker} {
		if resources.Group(ray, role) == nil {
			continue
		}
		_, err := kube.AppsV1().Deployments(ray.Namespace).Create(ctx, resources.NewDeployment(ray, role), dry)
		if err := check(err); err != nil {
			return false, err
		}
	}
	return accepted, nil
}

// checkNeighbour changes the correct Ray and waits until that is done, unless another case
// does so just now.
func checkNeighbour(ctx context.Context) error {
	if !malformed.neighbour.TryLock() {
		return nil
	}
	defer malformed.neighbour.Unlock()
	malformed.turn++
	patch := fmt.Appendf(nil, `[{"op":"add","path":"/spec/head/template/metadata","value":{"labels":{"turn":"%d"}}}]`, malformed.turn%2)
	if _, err := raw(ctx, "PATCH", "neighbour", patch); err != nil {
		return err
	}
	return await(ctx, func() error { return checkHealthy(ctx, "neighbour") })
}

func checkHealthy(ctx context.Context, name string) error {
	ray, err := read(ctx, name)
	if err != nil {
		return err
	}
	health, generation := healthOf(ray)
	if health == nil || health.Status != corev1.ConditionTrue || generation != ray.Metadata.Generation {
		return fmt.Errorf("Health is %v of generation %d, want True of %d", health, generation, ray.Metadata.Generation)
	}
	return nil
}

func checkGone(ctx context.Context, name string) error {
	_, err := read(ctx, name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return errors.Join(err, errors.New("it is still there"))
}

// healthOf returns the condition Health of a Ray, nil if it has none, and the generation that it is about.
func healthOf(ray *storedRay) (*rayv1.RayCondition, int64) {
	var status rayv1.RayStatus
	if json.Unmarshal(ray.Status, &status) != nil {
		return nil, 0
	}
	for i := range status.Conditions {
		if status.Conditions[i].Type == rayv1.RayHealth {
			return &status.Conditions[i], status.ObservedGeneration
		}
	}
	return nil, 0
}

// read reads a Ray without a client that would have to understand it.
func read(ctx context.Context, name string) (*storedRay, error) {
	data, err := raw(ctx, "GET", name, nil)
	if err != nil {
		return nil, err
	}
	ray := &storedRay{}
	return ray, json.Unmarshal(data, ray)
}

// raw makes a request for a malformed Ray, as bytes.
func raw(ctx context.Context, verb, name string, body []byte) ([]byte, error) {
	request := rays.RayV1().RESTClient().Verb(verb).Namespace(malformed.namespace).Resource("rays").Name(name)
	if body != nil {
		request = request.SetHeader("Content-Type", string(types.JSONPatchType)).Body(body)
	}
	return request.Do(ctx).Raw()
}

// await waits until check returns no error.
func await(ctx context.Context, check func() error) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(context.Context) (bool, error) {
		err := check()
		if ctx.Err() == nil {
			last = err // and not that there is no more time
		}
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", err, last)
	}
	return nil
}
