package controller

import "testing"

// seenUpTo is a cache that has seen the server's history up to a resourceVersion.
type seenUpTo string

func (s seenUpTo) LastStoreSyncResourceVersion() string { return string(s) }

func TestOwnWrites(t *testing.T) {
	type write struct{ resource, resourceVersion string }
	tests := []struct {
		name        string
		writes      []write
		rays        seenUpTo
		deployments seenUpTo
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
			stores := map[string]versionedStore{rayResource: test.rays, deploymentResource: test.deployments}
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
