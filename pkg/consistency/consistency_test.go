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

package consistency

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

var owner = cache.ObjectName{Namespace: "default", Name: "a"}

// newCache returns an empty cache that is at a resourceVersion.
func newCache(resourceVersion string) cache.Indexer {
	store := cache.NewIndexer(cache.MetaNamespaceKeyFunc, nil)
	store.Bookmark(resourceVersion)
	return store
}

func TestWroteAt(t *testing.T) {
	const rays, deployments = "rays", "deployments"
	type write struct{ resource, resourceVersion string }
	tests := []struct {
		name        string
		writes      []write
		rays        string
		deployments string
		want        string
	}{
		{"there were no writes", nil, "1", "1", ""},
		{"the cache is stale", []write{{rays, "10"}}, "9", "99", "the cache of rays is at resourceVersion 9, older than 10"},
		{"the cache has just reached the write", []write{{rays, "10"}}, "10", "1", ""},
		{"the cache is newer", []write{{rays, "10"}}, "99", "1", ""},
		{"versions are compared as numbers", []write{{rays, "9"}}, "10", "1", ""},
		{"one of two caches is stale", []write{{rays, "10"}, {deployments, "11"}}, "99", "10", "the cache of deployments is at resourceVersion 10, older than 11"},
		{"the newest of two writes counts", []write{{rays, "10"}, {rays, "12"}}, "11", "1", "the cache of rays is at resourceVersion 11, older than 12"},
		{"the newest of two writes counts if it is recorded first", []write{{rays, "12"}, {rays, "10"}}, "11", "1", "the cache of rays is at resourceVersion 11, older than 12"},
		{"a version that cannot be compared does not block", []write{{rays, "x"}}, "1", "1", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			caches := map[string]Reader{rays: newCache(test.rays), deployments: newCache(test.deployments)}
			store := New(func(_, resource string) Reader { return caches[resource] })
			for _, write := range test.writes {
				store.WroteAt(owner, write.resource, write.resourceVersion)
			}
			checkReady(t, store, test.want)
		})
	}
}

// TestDeleted has a deleted Deployment, and various cached objects with its name.
func TestDeleted(t *testing.T) {
	deployment := func(change func(*metav1.ObjectMeta)) *appsv1.Deployment {
		cached := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: owner.Namespace, Name: "x", UID: "1"}}
		change(&cached.ObjectMeta)
		return cached
	}
	tests := []struct {
		name   string
		cached *appsv1.Deployment
		want   string
	}{
		{"the deleted Deployment", deployment(func(*metav1.ObjectMeta) {}), `the cache of deployments still has "x", which was deleted`},
		{"the Deployment while it is being deleted", deployment(func(m *metav1.ObjectMeta) { m.DeletionTimestamp = new(metav1.Now()) }), ""},
		{"another Deployment with the same name", deployment(func(m *metav1.ObjectMeta) { m.UID = "2" }), ""},
		{"no Deployment", nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cached := newCache("1")
			if test.cached != nil {
				if err := cached.Add(test.cached); err != nil {
					t.Fatal(err)
				}
			}
			store := New(func(string, string) Reader { return cached })
			store.Deleted(owner, "deployments", "x", "1")
			checkReady(t, store, test.want)
		})
	}
}

// checkReady checks the error of EnsureReady, "" for none, and that success or Clear removes all records.
func checkReady(t *testing.T, store *Store, want string) {
	t.Helper()
	got := ""
	if err := store.EnsureReady(owner); err != nil {
		got = err.Error()
		store.Clear(owner)
	}
	if got != want {
		t.Errorf("got the error %q, want %q", got, want)
	}
	if len(store.writes) > 0 {
		t.Errorf("there are still records of %d owners, want none", len(store.writes))
	}
}
