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

package controller

import (
	"slices"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

var sampleWorker = childKey{deploymentResource, "sample-cluster-worker"}

// contentionTest has external changes to the workers of a Ray.
type contentionTest struct {
	t        *testing.T
	memory   *memory
	ray      *rayv1.Ray
	now      time.Time
	versions int
}

func newContentionTest(t *testing.T) *contentionTest {
	t.Helper()
	ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: rayName, UID: "1", Generation: 1}}
	return &contentionTest{t: t, memory: newMemory(), ray: ray, now: time.Unix(1000, 0)}
}

// check notices the last change of some parts, and checks for how long its revert must wait, and for how
// long a contention is reported.
func (c *contentionTest) check(wantWait, wantReported time.Duration, parts ...string) {
	c.t.Helper()
	wait := c.memory.sawExternalChange(c.ray, sampleWorker, strconv.Itoa(c.versions), parts, c.now)
	if wait != wantWait {
		c.t.Errorf("change %d must wait for %s, want %s", c.versions, wait, wantWait)
	}
	c.checkReported(wantReported, parts...)
}

func (c *contentionTest) checkReported(want time.Duration, wantParts ...string) {
	c.t.Helper()
	if want == 0 {
		wantParts = nil
	}
	parts, remaining := c.memory.contention(c.ray, sampleWorker, c.now)
	if remaining != want || !slices.Equal(parts, wantParts) {
		c.t.Errorf("after change %d, %q is reported for %s, want %q for %s", c.versions, parts, remaining, wantParts, want)
	}
}

// change is check with a new change, which is reverted if it need not wait.
func (c *contentionTest) change(wantWait, wantReported time.Duration, parts ...string) {
	c.t.Helper()
	c.versions++
	c.check(wantWait, wantReported, parts...)
	if wantWait == 0 {
		c.revert()
	}
}

func (c *contentionTest) revert() { c.memory.sawRevert(c.ray, sampleWorker, c.now) }

func (c *contentionTest) step(d time.Duration) { c.now = c.now.Add(d) }

// TestContention has another client that changes a child as soon as it is reverted. Three reverts are made
// at once, and the next ones after a delay that doubles.
func TestContention(t *testing.T) {
	c := newContentionTest(t)
	for range maxReverts {
		c.change(0, 0, partReplicas)
	}
	for _, delay := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second, 8 * time.Second} {
		c.change(delay, 20*time.Second, partReplicas)
		c.check(delay, 20*time.Second, partReplicas)
		c.step(delay - time.Millisecond)
		c.check(time.Millisecond, 20*time.Second-delay+time.Millisecond, partReplicas)
		c.step(time.Millisecond)
		c.check(0, 20*time.Second-delay, partReplicas)
		c.revert()
	}
	c.step(12*time.Second - time.Millisecond)
	c.checkReported(time.Millisecond, partReplicas)
	c.step(time.Millisecond)
	c.checkReported(0)

	for range maxReverts {
		c.change(0, 0, partReplicas)
	}
	c.change(time.Second, 20*time.Second, partReplicas)
}

func TestContentionIntervals(t *testing.T) {
	const forever = 100
	tests := []struct {
		name     string
		interval time.Duration
		// wantReported is the first change that is reported, if any.
		wantReported int
	}{
		{"a client that changes a child every second", time.Second, 4},
		{"a HorizontalPodAutoscaler, which acts every 15 seconds", 15 * time.Second, 4},
		{"a client that changes a child every 19 seconds", 19 * time.Second, 4},
		{"a client that changes a child every 20 seconds", 20 * time.Second, forever},
		{"a user who changes a child every minute", time.Minute, forever},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newContentionTest(t)
			for i := 1; i <= 10; i++ {
				c.versions++
				wait := c.memory.sawExternalChange(c.ray, sampleWorker, strconv.Itoa(c.versions), []string{partReplicas}, c.now)
				if wait == 0 {
					c.revert()
				} else if test.interval > maxRevertDelay {
					t.Errorf("change %d must wait for %s", i, wait)
				}
				_, remaining := c.memory.contention(c.ray, sampleWorker, c.now)
				if got, want := remaining > 0, i >= test.wantReported; got != want {
					t.Errorf("change %d is reported: %t, want %t", i, got, want)
				}
				c.step(test.interval)
			}
		})
	}
}

// TestContentionOfOthers has changes that must not be counted together.
func TestContentionOfOthers(t *testing.T) {
	contended := func(t *testing.T) *contentionTest {
		t.Helper()
		c := newContentionTest(t)
		for range maxReverts {
			c.change(0, 0, partReplicas)
		}
		c.change(time.Second, 20*time.Second, partReplicas)
		return c
	}
	t.Run("another child", func(t *testing.T) {
		c := contended(t)
		service := childKey{serviceResource, serviceKey}
		if wait := c.memory.sawExternalChange(c.ray, service, "1", []string{partPorts}, c.now); wait > 0 {
			t.Errorf("a change of the Service must wait for %s", wait)
		}
		if parts, remaining := c.memory.contention(c.ray, service, c.now); remaining > 0 {
			t.Errorf("%q of the Service is reported for %s", parts, remaining)
		}
		c.checkReported(20*time.Second, partReplicas)
	})
	t.Run("a Ray with another UID", func(t *testing.T) {
		c := contended(t)
		c.ray.UID = "2"
		c.checkReported(0)
		c.change(0, 0, partReplicas)
	})
	t.Run("a Ray that was forgotten", func(t *testing.T) {
		c := contended(t)
		c.memory.forget(sampleKey)
		c.checkReported(0)
		c.change(0, 0, partReplicas)
	})
	t.Run("other parts, of which the last ones are reported", func(t *testing.T) {
		c := contended(t)
		c.step(time.Second)
		c.check(0, 19*time.Second, partReplicas)
		c.revert()
		c.change(2*time.Second, 20*time.Second, partLabels, partReplicas)
	})
	t.Run("a change that is noticed again, since its revert was rejected, is not another one", func(t *testing.T) {
		c := newContentionTest(t)
		c.versions++
		for range 10 {
			c.check(0, 0, partReplicas)
		}
		c.revert()
		c.change(0, 0, partReplicas)
		c.change(0, 0, partReplicas)
		c.change(time.Second, 20*time.Second, partReplicas)
	})
	t.Run("a revert of a Ray that was forgotten", func(t *testing.T) {
		c := newContentionTest(t)
		c.versions++
		c.check(0, 0, partReplicas)
		c.memory.forget(sampleKey)
		c.revert()
		c.checkReported(0)
	})
}

func TestHasConflicts(t *testing.T) {
	m, ray := newMemory(), &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: rayName, UID: "1"}}
	other := ray.DeepCopy()
	other.UID = "2"
	check := func(when string, want bool) {
		t.Helper()
		if got := m.hasConflicts(ray); got != want {
			t.Errorf("%s: got %t, want %t", when, got, want)
		}
	}
	conflicts := func(count int) {
		for range count {
			m.sawConflict(ray, true)
		}
	}
	check("without a sync", false)
	conflicts(maxConflicts - 1)
	check("after 15 conflicts", false)
	m.sawConflict(ray, false)
	conflicts(maxConflicts - 1)
	check("after 15 conflicts, one sync without, and 15 more", false)
	conflicts(1)
	check("after 16 conflicts in a row", true)
	conflicts(10)
	check("after more conflicts", true)
	m.sawConflict(other, false)
	conflicts(1)
	check("after the Ray was created again", false)
	conflicts(maxConflicts)
	m.sawConflict(ray, false)
	check("after a sync without a conflict", false)
}
