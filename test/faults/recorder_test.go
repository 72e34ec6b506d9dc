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
	"slices"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubeflow/ray-operator/test/faults/history"
)

// recorder watches a namespace independently of the operator, and records every version of its
// objects.
type recorder struct {
	mu       sync.Mutex
	versions []history.Version
	err      error
	// changed receives a value when there is a new version.
	changed chan struct{}
}

// record records every version of the objects in a namespace until the test ends.
func record(t *testing.T, namespace string) *recorder {
	t.Helper()
	if store != nil {
		return store.record(t, namespace)
	}
	r := &recorder{changed: make(chan struct{}, 1)}
	sources := map[string]interface {
		Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
	}{
		history.Rays:        rays.RayV1().Rays(namespace),
		history.Services:    kube.CoreV1().Services(namespace),
		history.Deployments: kube.AppsV1().Deployments(namespace),
	}
	for resource, source := range sources {
		// The namespace is new, so no object is older than the watch.
		stream, err := source.Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatalf("watching %s: %v", resource, err)
		}
		go r.follow(t.Context(), resource, stream)
	}
	return r
}

func (r *recorder) follow(ctx context.Context, resource string, stream watch.Interface) {
	defer stream.Stop()
	for event := range stream.ResultChan() {
		if object, ok := event.Object.(metav1.Object); ok {
			r.add(history.Version{Resource: resource, Deleted: event.Type == watch.Deleted, Object: object})
		} else {
			r.fail(fmt.Errorf("the watch of %s ended: %v", resource, event.Object))
		}
	}
	if ctx.Err() == nil {
		r.fail(fmt.Errorf("the watch of %s ended, so the history has a gap", resource))
	}
}

// add adds a version and signals it.
func (r *recorder) add(version history.Version) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.versions = append(r.versions, version)
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// fail records why the history is incomplete.
func (r *recorder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *recorder) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// history returns all versions so far.
func (r *recorder) history() ([]history.Version, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.versions), r.err
}

// readState reads the objects of a namespace from the API server.
func readState(ctx context.Context, namespace string) (*history.State, error) {
	rays, err := rays.RayV1().Rays(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	services, err := kube.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	deployments, err := kube.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return &history.State{Rays: rays.Items, Services: services.Items, Deployments: deployments.Items}, nil
}

// readEvents reads the events about Rays.
func readEvents(ctx context.Context, namespace string, state *history.State) error {
	events, err := kube.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=Ray"})
	if err == nil {
		state.Events = events.Items
	}
	return err
}
