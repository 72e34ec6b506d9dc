package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
)

// fieldScene is where the cases of the family fields take place.
type fieldScene struct {
	sharedOperator

	mu sync.Mutex
	// bases are the states after Rays without any leaf were created, one for each group.
	bases map[rayv1.Role]*history.State
}

var fields = fieldScene{sharedOperator: sharedOperator{family: "fields"}, bases: map[rayv1.Role]*history.State{}}

// base returns the state after a Ray was created with a spec, which it is the first time.
func (s *fieldScene) base(t *testing.T, role rayv1.Role, spec any) (*history.State, error) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if base, found := s.bases[role]; found {
		return base, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	ray, err := s.create(t, "base-of-"+string(role), spec)
	if err != nil {
		return nil, err
	}
	base, err := ray.await(ctx, healthy)
	if err != nil {
		return nil, err
	}
	s.bases[role] = base
	return base, nil
}

// trackedRay is a Ray that is followed from its creation on.
type trackedRay struct {
	scene  *fieldScene
	name   string
	events watch.Interface
	// last is the newest version that was seen.
	last *rayv1.Ray
}

// create creates a Ray, whose spec may be anything, and follows it until the test ends.
func (s *fieldScene) create(t *testing.T, name string, spec any) (*trackedRay, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	body := mustJSON(map[string]any{
		"apiVersion": rayv1.SchemeGroupVersion.String(),
		"kind":       rayv1.SchemeGroupVersionKind.Kind,
		"metadata":   map[string]any{"name": name},
		"spec":       spec,
	})
	ray := &rayv1.Ray{}
	err := rays.RayV1().RESTClient().Post().Namespace(s.namespace).Resource(history.Rays).Body(body).Do(ctx).Into(ray)
	if err != nil {
		return nil, err
	}
	events, err := rays.RayV1().Rays(s.namespace).Watch(t.Context(), metav1.ListOptions{
		FieldSelector: "metadata.name=" + name, ResourceVersion: ray.ResourceVersion,
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(events.Stop)
	return &trackedRay{scene: s, name: name, events: events, last: ray}, nil
}

// change replaces the spec.
func (r *trackedRay) change(ctx context.Context, spec any) error {
	patch := mustJSON([]any{map[string]any{"op": "replace", "path": "/spec", "value": spec}})
	ray, err := rays.RayV1().Rays(r.scene.namespace).Patch(ctx, r.name, types.JSONPatchType, patch, metav1.PatchOptions{})
	if err == nil {
		r.last = ray
	}
	return err
}

// await waits until what there is of the Ray is as wanted, and returns it.
func (r *trackedRay) await(ctx context.Context, goal goal) (*history.State, error) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	missing := errors.New("the operator has not observed the spec")
	for {
		// Until the Ray is observed, its children are still as they were.
		if r.last.Status.ObservedGeneration == r.last.Generation {
			state, err := r.read(ctx)
			if err == nil {
				err = goal(state)
			}
			if err == nil {
				return state, nil
			}
			if ctx.Err() == nil { // else it says no more than that
				missing = err
			}
		}
		select {
		case event, open := <-r.events.ResultChan():
			ray, ok := event.Object.(*rayv1.Ray)
			if !open || !ok {
				return nil, fmt.Errorf("the watch of Ray %s ended with %v", r.name, event.Object)
			}
			if ray.Generation >= r.last.Generation {
				r.last = ray
			}
		case <-tick.C:
		case <-r.scene.ended:
			return nil, errors.New("the operator's process has ended")
		case <-ctx.Done():
			return nil, fmt.Errorf("the Ray does not become as wanted: %w", errors.Join(missing, context.Cause(ctx)))
		}
	}
}

// read returns the newest version of the Ray that was seen, and its children.
func (r *trackedRay) read(ctx context.Context) (*history.State, error) {
	state := &history.State{Rays: []rayv1.Ray{*r.last}}
	service, err := kube.CoreV1().Services(r.scene.namespace).Get(ctx, r.name+"-head", metav1.GetOptions{})
	if err == nil {
		state.Services = append(state.Services, *service)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	for _, role := range []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker} {
		deployment, err := kube.AppsV1().Deployments(r.scene.namespace).Get(ctx, r.name+"-"+string(role), metav1.GetOptions{})
		if err == nil {
			state.Deployments = append(state.Deployments, *deployment)
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return state, nil
}

// writes returns what was written for the Ray since the last call.
func (r *trackedRay) writes() []history.Write {
	own := map[string]bool{r.name: true, r.name + "-head": true, r.name + "-worker": true}
	return r.scene.operator.proxy.Take(func(write *history.Write) bool { return own[write.Name] || strings.HasPrefix(write.Name, r.name+".") })
}

// renamed returns a state as it would be if the Ray had another name. What the operator
// makes of a template differs with the name, and so does its hash.
func renamed(state *history.State, from, to string) (*history.State, error) {
	data, err := json.Marshal(state)
	if err != nil {
		return nil, err
	}
	other := &history.State{}
	return other, json.Unmarshal([]byte(strings.ReplaceAll(string(data), from, to)), other)
}

func mustJSON(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err) // made of what JSON has
	}
	return data
}
