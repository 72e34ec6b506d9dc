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

package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs/gcstest"
	"github.com/kubeflow/ray-operator/test/internal/fakeray"
)

// endlessReply announces a reply of a size, and sends bytes until the client gives up.
func endlessReply(size uint32) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		_, err := w.Write(binary.BigEndian.AppendUint32([]byte{0}, size))
		for chunk := make([]byte, 64<<10); err == nil; {
			_, err = w.Write(chunk)
		}
	})
}

// largeTrailers sends 20 MB of trailers.
func largeTrailers() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		_, _ = w.Write(make([]byte, 5))
		for i := range 2_000 {
			w.Header().Set(fmt.Sprintf("%sX-%d", http.TrailerPrefix, i), string(bytes.Repeat([]byte("x"), 10_000)))
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	})
}

// stateOf returns a well-formed reply with a node and a demand.
func stateOf(amount float64, count int64) http.Handler {
	return gcstest.Reply(gcstest.EncodeState(&gcs.ClusterState{
		Session: "s",
		Nodes:   []gcs.Node{{ID: "head", Group: "head", Status: gcs.NodeRunning, Total: gcs.Resources{"x": 1}}},
		Tasks:   []gcs.Demand{fakeray.Demand(count, "CPU", amount)},
	}))
}

// misbehaviors are GCSs that nothing is scaled for, and the reason of ScalingActive.
var misbehaviors = []struct {
	name     string
	behavior http.Handler
	reason   string
}{
	{"nan", stateOf(math.NaN(), 3), "InvalidReply"},
	{"infinite", stateOf(math.Inf(1), 3), "InvalidReply"},
	{"negative", stateOf(-1, 3), "InvalidReply"},
	{"gigabytes", endlessReply(1 << 31), "InvalidReply"},
	{"endless", endlessReply(1 << 20), "InvalidReply"},
	{"garbage", gcstest.Reply(bytes.Repeat([]byte{0xff}, 1000)), "InvalidReply"},
	{"trailers", largeTrailers(), "InvalidReply"},
	{"slow", gcstest.Slow(20 * time.Millisecond), "GCSUnreachable"},
	{"hang", gcstest.Hang, "GCSUnreachable"},
	{"drop", gcstest.Drop, "InvalidReply"},
	{"fail", gcstest.Fail(13, "internal"), "GCSUnreachable"},
	{"old", gcstest.Fail(12, ""), "UnsupportedRayVersion"},
}

// TestAutoscalingMisbehavior has GCSs that do not behave: nothing is scaled, other Rays are, and the memory of the
// operator stays small. It scales again when they behave.
func TestAutoscalingMisbehavior(t *testing.T) {
	const maxGrowth = 25 << 20
	u := newUser(t)
	stopOperator(t)
	o := newOperator(t, "misbehavior", "--namespace", u.namespace, "--metrics-secure=false", "--profiling")
	// The cache mutation detector keeps copies of all objects.
	o.Binary = writeScript(t, "KUBE_CACHE_MUTATION_DETECTOR=false exec '"+o.Binary+"' \"$@\"")
	start(t, o)

	rays := map[string]*fakeRay{}
	for _, name := range misbehaviorNames() {
		rays[name] = u.newNamedRay(name, 1, "{maxReplicas: 3, idleTimeoutSeconds: 600}")
	}
	for name, f := range rays {
		u.waitHealthy(name)
		f.waitScaling(rayv1.RayScalingActive, corev1.ConditionTrue, "DemandKnown", "")
	}
	before := residentMemory(t, o)

	for _, m := range misbehaviors {
		rays[m.name].GCS.Misbehave(m.behavior)
		rays[m.name].Submit(3)
	}
	for _, m := range misbehaviors {
		rays[m.name].waitScaling(rayv1.RayScalingActive, corev1.ConditionFalse, m.reason, "")
	}
	good := rays["good"]
	good.Submit(3)
	good.waitWorkers(rayv1.RoleWorker, 3)
	if growth := residentMemory(t, o) - before; growth > maxGrowth {
		t.Errorf("the memory has grown by %d bytes, want at most %d", growth, maxGrowth)
	} else {
		t.Logf("the memory of %d KiB has grown by %d KiB", before>>10, growth>>10)
	}
	for _, m := range misbehaviors {
		if got := *u.deployment(m.name + "-worker").Spec.Replicas; got != 1 {
			t.Errorf("%s: the workers were scaled to %d", m.name, got)
		}
		rays[m.name].GCS.Misbehave(nil)
	}
	for _, m := range misbehaviors {
		rays[m.name].waitScaling(rayv1.RayScalingActive, corev1.ConditionTrue, "DemandKnown", "")
		rays[m.name].waitWorkers(rayv1.RoleWorker, 3)
	}
	if drained := good.Drained(); len(drained) > 0 {
		t.Errorf("the Pods %v were drained", drained)
	}
}

func misbehaviorNames() []string {
	names := []string{"good"}
	for _, m := range misbehaviors {
		names = append(names, m.name)
	}
	return names
}

// newNamedRay creates a Ray with autoscaled workers of one CPU.
func (u *user) newNamedRay(name string, replicas int, autoscaling string) *fakeRay {
	u.Helper()
	u.kubectlWith(shortSample(u.T, "name: ray-cluster", "name: "+name,
		"    replicas: 2\n", fmt.Sprintf("    replicas: %d\n    autoscaling: %s\n", replicas, autoscaling)), "apply", "-f", "-")
	return newFakeRay(u, name)
}

// TestAutoscalingHugeDemand has a GCS with more demand than there are numbers for.
func TestAutoscalingHugeDemand(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	f := newAutoscaledRay(u, 0, "{maxReplicas: 3, idleTimeoutSeconds: 1}")
	f.Require(fakeray.Demand(math.MaxInt64, "CPU", 1), fakeray.Demand(math.MaxInt64, "CPU", 0.5), fakeray.Demand(1, "CPU", 1e300))
	f.waitWorkers(rayv1.RoleWorker, 3)
	f.waitScaling(rayv1.RayScalingLimited, corev1.ConditionTrue, "TooManyReplicas", "worker")
	f.waitScaling(rayv1.RayInfeasibleDemand, corev1.ConditionTrue, "NoGroupFits", "CPU")
	f.Require()
	f.waitWorkers(rayv1.RoleWorker, 0)
}

// TestAutoscalingUnreachable has a head with a Service to which nothing connects.
func TestAutoscalingUnreachable(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectlWith(withAutoscaling(t, "{maxReplicas: 5, idleTimeoutSeconds: 1}"), "apply", "-f", "-")
	u.waitHealthy("ray-cluster")
	f := &fakeRay{Ray: &fakeray.Ray{}, u: u, name: "ray-cluster"}
	f.waitScaling(rayv1.RayScalingActive, corev1.ConditionFalse, "GCSUnreachable", "the operator must reach port 6379 of the head's Service")
	for _, kind := range []rayv1.RayConditionType{rayv1.RayScalingLimited, rayv1.RayInfeasibleDemand} {
		f.waitScaling(kind, corev1.ConditionUnknown, "ScalingInactive", "")
	}
	f.waitWorkers(rayv1.RoleWorker, 2)
	u.waitHealthy("ray-cluster")
}
