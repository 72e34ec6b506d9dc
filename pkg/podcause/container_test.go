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
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Last lines of logs, as the kubelet copies them to a termination message.
const (
	usageError = "2026-03-01 11:59:58,123\tINFO usage_lib.py:467 -- Usage stats collection is enabled.\n" +
		"Usage: ray start [OPTIONS]\nTry 'ray start --help' for help.\n\nError: No such option '--redis-port'\n"
	traceback = "Traceback (most recent call last):\n  File \"/home/ray/main.py\", line 1, in <module>\n    import torch\n" +
		"ModuleNotFoundError: No module named 'torch'\n\n"
	startError = `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "rayy": executable file not found in $PATH: unknown`
)

func TestContainers(t *testing.T) {
	probes := func(readiness, startup *corev1.Probe) option {
		return spec(func(s *corev1.PodSpec) {
			s.Containers[0].ReadinessProbe, s.Containers[0].StartupProbe = readiness, startup
		})
	}
	delay := func(seconds int32) *corev1.Probe {
		return &corev1.Probe{InitialDelaySeconds: seconds, PeriodSeconds: 10}
	}
	notStarted := func(age time.Duration) corev1.ContainerStatus {
		s := running(age)
		s.Started = new(false)
		return s
	}
	second := spec(func(s *corev1.PodSpec) {
		s.Containers = append(s.Containers, corev1.Container{Name: "proxy", Image: "proxy:1"})
	})
	ready := func(s corev1.ContainerStatus) corev1.ContainerStatus {
		s.Ready = true
		return s
	}
	neverRestarted := after(exit(1, "Error", "boom"), running(time.Second))
	neverRestarted.RestartCount = 0
	signal := exit(0, "Error", "")
	signal.Signal = 9

	tests := []struct {
		name string
		pod  corev1.Pod
		want string
	}{
		{"a usage error", newPod(status(crashLoop(exit(2, "Error", usageError)))), `container "ray" exited with 2: Error: No such option '--redis-port'`},
		{"a traceback", newPod(status(crashLoop(exit(1, "Error", traceback)))), `container "ray" exited with 1: ModuleNotFoundError: No module named 'torch'`},
		{"an exit before the first restart", newPod(status(terminated(exit(1, "Error", "boom\n")))), `container "ray" exited with 1: boom`},
		{"an exit without a log", newPod(status(crashLoop(exit(1, "Error", "")))), `container "ray" exited with 1`},
		{"an exit with a log of empty lines", newPod(status(crashLoop(exit(1, "Error", "\n \r\n\x1b[0m\n")))), `container "ray" exited with 1`},
		{"a log that ends with a ruler", newPod(status(crashLoop(exit(1, "Error", "boom\n========\n")))), `container "ray" exited with 1: boom`},
		{"a crash loop without an exit", newPod(status(waiting("CrashLoopBackOff", ""))), `container "ray" restarts again and again`},
		{"a restarted container that is not ready", newPod(status(after(exit(1, "Error", "boom"), running(time.Second)))), `container "ray" exited with 1: boom`},
		{"a container that waits for its restart", newPod(with(corev1.PodReadyToStartContainers, corev1.ConditionTrue, "", "", 0), status(after(exit(1, "Error", "boom"), waiting("ContainerCreating", "")))), `container "ray" exited with 1: boom`},
		{"a container that recovered from a crash", newPod(status(after(exit(1, "Error", "boom"), running(11*time.Minute)))), ""},
		{"a container that ran out of memory", newPod(status(crashLoop(exit(137, "OOMKilled", "loading model 17%")))), `container "ray" exited with 137 (OOMKilled)`},
		{"a container that its liveness probe killed", newPod(status(crashLoop(exit(137, "Error", "GET /healthz 500 in 3 ms")))), `container "ray" exited with 137`},
		{"a container that disappeared", newPod(status(after(exit(137, "ContainerStatusUnknown", "The container could not be located when the pod was terminated"), running(0)))), `container "ray" exited with 137 (ContainerStatusUnknown)`},
		{"a container that completes", newPod(status(crashLoop(exit(0, "Completed", "")))), `container "ray" exited with 0`},
		{"a signal without an exit code", newPod(status(crashLoop(signal))), `container "ray" exited with signal 9`},

		{"a missing command", newPod(status(crashLoop(exit(128, "StartError", startError)))), `container "ray" cannot start: ` + startError},
		{"a missing command before the first restart", newPod(status(waiting("RunContainerError", startError))), `container "ray" cannot start: ` + startError},
		{"a missing command that was fixed", newPod(status(after(exit(128, "StartError", startError), running(11*time.Minute)))), ""},
		{"a missing Secret", newPod(status(waiting("CreateContainerConfigError", `secret "y" not found`))), `container "ray" cannot start: secret "y" not found`},
		{"a name that is in use", newPod(status(waiting("CreateContainerError", `failed to reserve container name "ray_x-worker-6d4f8b7c9-bcdfg_default_8d3c6f6e-0d3c-4b7e-9d2a-0a1b2c3d4e5f_0": name "ray_x-worker-6d4f8b7c9-bcdfg_default_8d3c6f6e-0d3c-4b7e-9d2a-0a1b2c3d4e5f_0" is reserved for "`+strings.Repeat("0f", 32)+`"`))), `container "ray" cannot start: failed to reserve container name "ray_x-worker-6d4f8b7c9-*_default_*": name "ray_x-worker-6d4f8b7c9-*_default_*" is reserved for "*"`},
		{"an error without a message", newPod(status(waiting("CreateContainerError", ""))), `container "ray" cannot start: CreateContainerError`},
		{"an unknown reason with a message", newPod(status(waiting("Queued", "no capacity"))), `container "ray" cannot start: no capacity`},
		{"an unknown reason without a message", newPod(status(waiting("Queued", ""))), ""},
		{"a container that was created and is not running yet", newPod(status(waiting("", ""))), ""},

		{"an init container that crashes", newPod(status(waiting("PodInitializing", "")), initContainer("wait", crashLoop(exit(1, "Error", "no route to host")))), `init container "wait" exited with 1: no route to host`},
		{"an init container without its image", newPod(status(waiting("PodInitializing", "")), initContainer("wait", waiting("ErrImageNeverPull", `Container image "wait:1" is not present with pull policy of Never`))), `init container "wait" cannot pull image "wait:1": Container image "wait:1" is not present with pull policy of Never`},
		{"an init container that runs for long", newPod(status(waiting("PodInitializing", "")), initContainer("wait", running(6*time.Minute))), `init container "wait" is still running`},
		{"an init container that runs for 4 minutes", newPod(status(waiting("PodInitializing", "")), initContainer("wait", running(4*time.Minute))), ""},
		{"an init container that completed", newPod(status(crashLoop(exit(1, "Error", "boom"))), initContainer("wait", terminated(exit(0, "Completed", "")))), `container "ray" exited with 1: boom`},
		{"an init container that ran twice", newPod(status(waiting("PodInitializing", "")), initContainer("wait", after(exit(0, "Completed", ""), running(time.Second)))), ""},
		{"a sidecar that runs for long", newPod(status(running(time.Second)), sidecar("proxy", running(time.Hour))), ""},
		{"a sidecar that crashes", newPod(status(waiting("PodInitializing", "")), sidecar("proxy", crashLoop(exit(0, "Completed", "")))), `container "proxy" exited with 0`},

		{"a readiness probe that fails", newPod(probes(delay(0), nil), status(running(31*time.Second))), `container "ray" is not ready: its readiness probe fails`},
		{"a container that started 20 s ago", newPod(probes(delay(0), nil), status(running(20*time.Second))), ""},
		{"a container before its first probe", newPod(probes(delay(300), nil), status(running(5*time.Minute))), ""},
		{"a container after its first probe", newPod(probes(delay(300), nil), status(running(6*time.Minute))), `container "ray" is not ready: its readiness probe fails`},
		{"a startup probe that fails", newPod(probes(delay(0), delay(0)), status(notStarted(time.Minute))), `container "ray" has not started: its startup probe fails`},
		{"a startup probe with a delay", newPod(probes(delay(0), delay(60)), status(notStarted(time.Minute))), ""},
		{"a readiness probe after the startup probe", newPod(probes(delay(0), delay(0)), status(running(time.Minute))), `container "ray" is not ready: its readiness probe fails`},
		{"a readiness probe of a container that has not started", newPod(probes(delay(0), nil), status(notStarted(time.Minute))), `container "ray" is not ready: its readiness probe fails`},
		{"a container without probes", newPod(status(running(time.Minute))), ""},

		{"a ready container beside one that starts", newPod(second, probes(delay(0), nil), status(ready(after(exit(1, "Error", "boom"), running(time.Minute)))), status(running(time.Second))), ""},
		{"a container with an exit and without restarts", newPod(status(neverRestarted)), ""},
		{"the crash of the second container", newPod(second, probes(delay(0), nil), status(running(time.Minute)), status(crashLoop(exit(1, "Error", "boom")))), `container "proxy" exited with 1: boom`},
		{"the image of the second container", newPod(second, status(crashLoop(exit(1, "Error", "boom"))), status(waiting("InvalidImageName", "invalid reference format"))), `container "proxy" cannot pull image "proxy:1": invalid reference format`},
		{"the first of two crashes", newPod(second, status(crashLoop(exit(1, "Error", "boom"))), status(crashLoop(exit(2, "Error", "boom")))), `container "ray" exited with 1: boom`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { check(t, test.want, test.pod) })
	}
}

// Between two attempts to pull an image, the kubelet reports that it waits.
func TestImages(t *testing.T) {
	const (
		containerd = `failed to pull and unpack image "docker.io/library/ray:2.9": failed to resolve reference "docker.io/library/ray:2.9": docker.io/library/ray:2.9: not found`
		grpc       = "rpc error: code = NotFound desc = " + containerd
		notFound   = `container "ray" cannot pull image "ray:2.9": docker.io/library/ray:2.9: not found`

		unavailable = "image pull failed for ray:2.9 because the registry is unavailable: timeout"
		reset       = `rpc error: code = Unknown desc = failed to pull and unpack image "ray:2.9": failed to do request: Head "https://r/v2": read tcp 10.2.0.49:42728->23.20.95.219:443: read: connection reset by peer`
		git         = `Back-off pulling image "ray": ErrImagePull: r/ray:0123456789abcdef0123456789abcdef01234567: not found`
	)
	tests := []struct {
		name, reason, message, want string
	}{
		{"a failed attempt", "ErrImagePull", grpc, notFound},
		{"a failed attempt without the gRPC code", "ErrImagePull", containerd, notFound},
		{"the time until the next attempt", "ImagePullBackOff", `Back-off pulling image "ray:2.9": ErrImagePull: ` + grpc, notFound},
		{"the time until the next attempt, older kubelet", "ImagePullBackOff", `Back-off pulling image "ray:2.9"`, `container "ray" cannot pull image "ray:2.9"`},
		{"an unavailable registry", "RegistryUnavailable", unavailable, `container "ray" cannot pull image "ray:2.9": ` + unavailable},
		{"an unavailable registry, next attempt", "ImagePullBackOff", `Back-off pulling image "ray:2.9": RegistryUnavailable: ` + unavailable, `container "ray" cannot pull image "ray:2.9": ` + unavailable},
		{"docker", "ErrImagePull", "rpc error: code = Unknown desc = Error response from daemon: manifest unknown", `container "ray" cannot pull image "ray:2.9": manifest unknown`},
		{"the local port of a connection", "ErrImagePull", reset, `container "ray" cannot pull image "ray:2.9": failed to do request: Head "https://r/v2": read tcp 23.20.95.219:443: read: connection reset by peer`},
		{"a commit as a tag", "ImagePullBackOff", git, `container "ray" cannot pull image "ray:2.9": r/ray:0123456789abcdef0123456789abcdef01234567: not found`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { check(t, test.want, newPod(status(waiting(test.reason, test.message)))) })
	}
}
