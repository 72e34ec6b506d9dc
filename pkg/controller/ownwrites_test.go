package controller

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// seenUpTo returns an empty cache that has seen the server's history up to a resourceVersion.
func seenUpTo(resourceVersion string) cache.Indexer {
	store := cache.NewIndexer(cache.MetaNamespaceKeyFunc, nil)
	store.Bookmark(resourceVersion)
	return store
}

func TestOwnWrites(t *testing.T) {
	type write struct{ resource, resourceVersion string }
	tests := []struct {
		name        string
		writes      []write
		rays        string
		deployments string
		visible     bool
	}{
		{"nothing was written", nil, "1", "1", true},
		{"a write is yet to be seen", []write{{rayResource, "10"}}, "9", "99", false},
		{"a write has just been seen", []write{{rayResource, "10"}}, "10", "1", true},
		{"a write was seen long ago", []write{{rayResource, "10"}}, "99", "1", true},
		{"numbers are no strings", []write{{rayResource, "9"}}, "10", "1", true},
		{"one of two resources is yet to be seen", []write{{rayResource, "10"}, {deploymentResource, "11"}}, "99", "10", false},
		{"the newest of two writes counts", []write{{rayResource, "10"}, {rayResource, "12"}}, "11", "1", false},
		{"also if it is noted first", []write{{rayResource, "12"}, {rayResource, "10"}}, "11", "1", false},
		{"what cannot be compared holds nothing up", []write{{rayResource, "x"}}, "1", "1", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stores := map[string]versionedStore{rayResource: seenUpTo(test.rays), deploymentResource: seenUpTo(test.deployments)}
			writes := newOwnWrites(func(_, resource string) versionedStore { return stores[resource] })
			for _, write := range test.writes {
				writes.record(sampleKey, write.resource, write.resourceVersion)
			}
			if got := writes.visible(sampleKey); got != test.visible {
				t.Errorf("visible is %t, want %t", got, test.visible)
			}
			if left := len(writes.pending); test.visible && left > 0 {
				t.Errorf("%d Rays are still remembered", left)
			}
		})
	}
}

// TestOwnDeletions has a Deployment that was deleted for a Ray, and what a cache shows by its name.
func TestOwnDeletions(t *testing.T) {
	meta := func(change func(*metav1.ObjectMeta)) *appsv1.Deployment {
		shown := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "x", UID: "1"}}
		change(&shown.ObjectMeta)
		return shown
	}
	tests := []struct {
		name    string
		shown   *appsv1.Deployment
		visible bool
	}{
		{"it, as if nothing had happened", meta(func(*metav1.ObjectMeta) {}), false},
		{"it, as it is being deleted", meta(func(m *metav1.ObjectMeta) { m.DeletionTimestamp = new(metav1.Now()) }), true},
		{"another one", meta(func(m *metav1.ObjectMeta) { m.UID = "2" }), true},
		{"nothing", nil, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store := seenUpTo("1")
			if test.shown != nil {
				if err := store.Add(test.shown); err != nil {
					t.Fatal(err)
				}
			}
			writes := newOwnWrites(func(string, string) versionedStore { return store })
			writes.recordDeletion(sampleKey, deploymentResource, "x", "1")
			if got := writes.visible(sampleKey); got != test.visible {
				t.Errorf("visible is %t, want %t", got, test.visible)
			}
		})
	}
}
