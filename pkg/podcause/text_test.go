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

package podcause

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/randfill"
)

func TestClean(t *testing.T) {
	long := strings.Repeat("ä", 200)
	tests := []struct {
		name, text, want string
	}{
		{"lines", " a\n\tb\r\nc ", "a b c"},
		{"colors", "\x1b[31mError\x1b[0m: \x1b[1;4mx", "Error: x"},
		{"a title", "\x1b]0;title\x07x", "x"},
		{"an incomplete escape sequence", "\x1b]0;title", "]0;title"},
		{"control characters", "a\x00b\u0085c", "a b c"},
		{"invisible characters", "a\u200b\u202eb\ufeff", "ab"},
		{"line separators", "a\u2028b", "a b"},
		{"invalid UTF-8", "a\xff\xfeb", "ab"},
		{"a long text", long, long[:252] + "…"},
		{"a long text with another border", "a" + long, "a" + long[:252] + "…"},
		{"the time of a Python log", "2026-03-01 11:59:58,123\tERROR services.py:1 -- boom", "ERROR services.py:1 -- boom"},
		{"the time of a Ray log", "[2026-03-01 11:59:58,123 E 17 42] (raylet) main.cc:1: boom", "(raylet) main.cc:1: boom"},
		{"the time of a Go log", "2026/03/01 11:59:58 boom", "boom"},
		{"a time in RFC 3339", "time=2026-03-01T11:59:58.123456Z boom", "time= boom"},
		{"the time of a klog log", "E0301 11:59:58.123456       1 main.go:7] boom", "main.go:7] boom"},
		{"a UID", "pods/8d3c6f6e-0d3c-4b7e-9d2a-0a1b2c3d4e5f/volumes", "pods/*/volumes"},
		{"a container ID", strings.Repeat("0f", 32) + " exited", "* exited"},
		{"a digest", "ray@sha256:" + strings.Repeat("0f", 32), "ray@sha256:" + strings.Repeat("0f", 32)},
		{"a process", "<Proxy at 0x7f3a5c001e80> (pid=4711)", "<Proxy at *> (*)"},
		{"the name and address of the Pod", "x-worker-6d4f8b7c9-bcdfg (10.244.1.7): boom", "x-worker-6d4f8b7c9-* (*): boom"},
		{"numbers that stay", "port 6379 in 0x10 of 10.96.0.1", "port 6379 in 0x10 of 10.96.0.1"},
	}
	pod := newPod()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := clean(&pod, test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// The name of a Pod contains as much of generateName as fits.
func TestCleanLongName(t *testing.T) {
	base := strings.Repeat("x", 58)
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: base + "bcdfg", GenerateName: base + "xx-"}}
	if got := clean(&pod, pod.Name+": boom"); got != base+"*: boom" {
		t.Errorf("got %q", got)
	}
}

func TestList(t *testing.T) {
	items := []string{"d", "b", "a\n", "c"}
	if got := list(items); got != "a, b, c, …" {
		t.Errorf("got %q", got)
	}
	if items[0] != "d" {
		t.Error("the list of the caller is sorted")
	}
}

// Neither the order of the Pods nor what a kubelet changes while a Pod crashes or waits for its image
// changes the summary.
func TestStable(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	crash := func(restarts int) option {
		e := exit(2, "Error", "2026-03-01 11:00:"+strconv.Itoa(10+restarts)+",001 "+usageError)
		states := []corev1.ContainerStatus{terminated(e), crashLoop(e), after(e, running(time.Second))}
		s := states[random.IntN(len(states))]
		s.RestartCount = int32(1 + restarts)
		return status(s)
	}
	pull := func() option {
		const detail = `rpc error: code = NotFound desc = failed to pull and unpack image "ray:2.9": not found`
		if random.IntN(2) == 0 {
			return status(waiting("ErrImagePull", detail))
		}
		return status(waiting("ImagePullBackOff", `Back-off pulling image "ray:2.9": ErrImagePull: `+detail))
	}
	want := `3 Pods: container "ray" exited with 2: Error: No such option '--redis-port'; 2 Pods: container "ray" cannot pull image "ray:2.9": not found`
	for i := range 50 {
		pods := []corev1.Pod{newPod(crash(i)), newPod(crash(i)), newPod(crash(i + 1)), newPod(pull()), newPod(pull()), newPod(unscheduled("Unschedulable", "x"))}
		for j := range pods {
			pods[j].Name = "x-worker-6d4f8b7c9-" + strings.Repeat(string(rune('b'+j)), 5)
		}
		random.Shuffle(len(pods), func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
		check(t, want, pods...)
	}
}

// checkLine fails a test if a summary is not one printable line of a limited length.
func checkLine(t *testing.T, line string) {
	t.Helper()
	if len(line) > 2048 || !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("got %q (%d bytes)", line, len(line))
	}
}

// Statuses of any form cause neither a panic nor a line that cannot be shown.
func TestRandomPods(t *testing.T) {
	found, long := 0, strings.Repeat("ä\x00", 3000)
	for seed := range int64(300) {
		random := rand.New(rand.NewPCG(uint64(seed), 0))
		pick := func(values ...string) string { return values[random.IntN(len(values))] }
		filler := randfill.NewWithSeed(seed).NilChance(0.3).NumElements(0, 3).MaxDepth(7).Funcs(
			func(s *string, _ randfill.Continue) {
				*s = pick("", "a", "b", "\xff\x1b[31m\n", "\u2028\u202e", "back-off", long)
			},
			func(v *corev1.PodPhase, _ randfill.Continue) {
				*v = corev1.PodPhase(pick("", "Pending", "Running", "Failed", "Unknown"))
			},
			func(v *corev1.ConditionStatus, _ randfill.Continue) {
				*v = corev1.ConditionStatus(pick("", "True", "False", "Unknown"))
			},
			func(v *corev1.PodConditionType, _ randfill.Continue) {
				*v = corev1.PodConditionType(pick("a", "PodScheduled", "ContainersReady", "PodReadyToStartContainers"))
			},
			func(v *metav1.Time, _ randfill.Continue) {
				*v = metav1.Time{Time: now.Add(time.Duration(random.Int64() - random.Int64()))}
			},
			func(v *corev1.ContainerStateWaiting, c randfill.Continue) {
				c.FillNoCustom(v)
				v.Reason = pick(v.Reason, "CrashLoopBackOff", "ErrImagePull", "ContainerCreating", "CreateContainerError")
			},
		)
		var pods []corev1.Pod
		for range random.IntN(4) {
			var pod corev1.Pod
			filler.Fill(&pod)
			if random.IntN(4) > 0 {
				pod.DeletionTimestamp = nil
			}
			pods = append(pods, pod)
		}
		line := Summary(pods, now)
		checkLine(t, line)
		if line != "" {
			found++
		}
	}
	if found < 100 {
		t.Errorf("only %d of the random lists of Pods had a cause", found)
	}
}

// A huge list of huge texts does not take long.
func TestHugePod(t *testing.T) {
	huge := strings.Repeat("\x1b]x->1:1->[2026-03-01 \n", 50_000)
	pods := []corev1.Pod{
		newPod(status(crashLoop(exit(1, "Error", huge)))),
		newPod(status(waiting("ErrImagePull", huge)), spec(func(s *corev1.PodSpec) { s.Containers[0].Image = huge })),
		newPod(deleted(time.Second), finalizers(huge, huge, huge, huge)),
	}
	start := time.Now()
	checkLine(t, Summary(pods, now))
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

func FuzzSummary(f *testing.F) {
	f.Add("CrashLoopBackOff", usageError, "ray", int32(2))
	f.Add("ImagePullBackOff", `Back-off pulling image "a": ErrImagePull: x`, "ray", int32(0))
	f.Add("RunContainerError", startError, "\x1b[31m", int32(-1))
	f.Fuzz(func(t *testing.T, reason, message, name string, code int32) {
		pod := newPod(spec(func(s *corev1.PodSpec) { s.Containers[0].Name = name }), status(after(exit(code, reason, message), waiting(reason, message))))
		checkLine(t, Summary([]corev1.Pod{pod, pod, newPod(phase(corev1.PodRunning, reason, message), finalizers(name), deleted(1))}, now))
	})
}
