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
	"cmp"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// initTimeout is the time after which a running init container is reported.
	initTimeout = 5 * time.Minute
	// recoveryTime is the time after which a restarted container has recovered: the kubelet resets its
	// back-off.
	recoveryTime = 10 * time.Minute
)

// Reasons of a container that waits.
const (
	containerCreating = "ContainerCreating"
	podInitializing   = "PodInitializing"
	crashLoopBackOff  = "CrashLoopBackOff"
)

// Exit codes of a process that was ended by SIGKILL or SIGTERM.
const (
	exitKilled     = 137
	exitTerminated = 143
)

// container is a container with its status.
type container struct {
	pod    *corev1.Pod
	spec   *corev1.Container
	status *corev1.ContainerStatus
	init   bool // an init container that is not a native sidecar
}

// containersCause returns why the containers of a Pod do not run or are not ready. A failing container
// comes before one that only is not ready.
func containersCause(pod *corev1.Pod, now time.Time) cause {
	initContainers, containers := containersOf(pod)
	for _, c := range initContainers {
		if found := cmp.Or(c.image(), c.config(), c.crash(now), c.stillRunning(now)); found != (cause{}) {
			return found
		}
	}
	finders := []func(container) cause{
		container.image,
		container.config,
		func(c container) cause { return c.crash(now) },
		func(c container) cause { return c.probe(now) },
	}
	for _, find := range finders {
		for _, c := range containers {
			if found := find(c); found != (cause{}) {
				return found
			}
		}
	}
	return cause{}
}

// containersOf returns the init containers and the other containers of a Pod that have a status, in the
// order of the spec. Native sidecars are among the others.
func containersOf(pod *corev1.Pod) (initContainers, containers []container) {
	statuses := statusesByName(pod.Status.InitContainerStatuses)
	for i := range pod.Spec.InitContainers {
		spec := &pod.Spec.InitContainers[i]
		status := statuses[spec.Name]
		switch {
		case status == nil:
		case spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways:
			containers = append(containers, container{pod: pod, spec: spec, status: status})
		default:
			initContainers = append(initContainers, container{pod: pod, spec: spec, status: status, init: true})
		}
	}
	statuses = statusesByName(pod.Status.ContainerStatuses)
	for i := range pod.Spec.Containers {
		spec := &pod.Spec.Containers[i]
		if status := statuses[spec.Name]; status != nil {
			containers = append(containers, container{pod: pod, spec: spec, status: status})
		}
	}
	return initContainers, containers
}

// statusesByName returns the statuses of containers by the containers' names.
func statusesByName(statuses []corev1.ContainerStatus) map[string]*corev1.ContainerStatus {
	byName := make(map[string]*corev1.ContainerStatus, len(statuses))
	for i := range statuses {
		byName[statuses[i].Name] = &statuses[i]
	}
	return byName
}

// cause returns a cause that names the container.
func (c container) cause(text string) cause {
	kind := "container "
	if c.init {
		kind = "init container "
	}
	return causeOf(kind + quote(c.spec.Name) + " " + text)
}

// config returns why the container cannot be created or started.
func (c container) config() cause {
	waiting := c.status.State.Waiting
	switch {
	case waiting == nil, isStarting(waiting.Reason), waiting.Reason == crashLoopBackOff:
		return cause{}
	case waiting.Message != "":
		return c.cannotStart(waiting.Message)
	case strings.HasSuffix(waiting.Reason, "Error"):
		return c.cannotStart(waiting.Reason)
	default:
		return cause{}
	}
}

// cannotStart returns a cause that quotes the kubelet or the runtime.
func (c container) cannotStart(message string) cause {
	return c.cause("cannot start: " + clean(c.pod, rpcError.ReplaceAllString(message, "")))
}

// isStarting returns whether a reason of a waiting container means that nothing failed so far.
func isStarting(reason string) bool {
	switch reason {
	case "", containerCreating, podInitializing, "RestartingAllContainers":
		return true
	default:
		return false
	}
}

// crash returns how the container exited if it does not run, or if it restarted and is not ready.
func (c container) crash(now time.Time) cause {
	waiting, running, exit := c.status.State.Waiting, c.status.State.Running, c.lastExit()
	looping := waiting != nil && waiting.Reason == crashLoopBackOff
	switch {
	case looping && exit == nil:
		return c.cause("restarts again and again")
	case exit == nil, c.init && exit.ExitCode == 0 && exit.Signal == 0:
		return cause{}
	case looping, c.status.State.Terminated != nil:
		return c.exited(exit)
	case c.status.RestartCount == 0, c.status.Ready:
		return cause{}
	case running != nil && longAgo(running.StartedAt.Time, now, recoveryTime):
		return cause{}
	default:
		return c.exited(exit)
	}
}

// lastExit returns how the container exited last, or nil.
func (c container) lastExit() *corev1.ContainerStateTerminated {
	return cmp.Or(c.status.State.Terminated, c.status.LastTerminationState.Terminated)
}

// exited returns a cause that describes an exit.
func (c container) exited(exit *corev1.ContainerStateTerminated) cause {
	if exit.Reason == "StartError" || exit.Reason == "ContainerCannotRun" {
		return c.cannotStart(cmp.Or(exit.Message, exit.Reason))
	}
	text := "exited with " + strconv.Itoa(int(exit.ExitCode))
	if exit.ExitCode == 0 && exit.Signal != 0 {
		text = "exited with signal " + strconv.Itoa(int(exit.Signal))
	}
	if exit.Reason != "" && exit.Reason != "Error" && exit.Reason != "Completed" {
		return c.cause(text + " (" + clean(c.pod, exit.Reason) + ")")
	}
	// A process that was killed has not logged why.
	if exit.ExitCode != exitKilled && exit.ExitCode != exitTerminated {
		if line := errorOf(c.pod, exit.Message); line != "" {
			text += ": " + line
		}
	}
	return c.cause(text)
}

// stillRunning returns whether an init container runs for unusually long.
func (c container) stillRunning(now time.Time) cause {
	running := c.status.State.Running
	if running == nil || !longAgo(running.StartedAt.Time, now, initTimeout) {
		return cause{}
	}
	return c.cause("is still running")
}

// probe returns which probe of the container fails.
func (c container) probe(now time.Time) cause {
	running, started := c.status.State.Running, c.status.Started
	probe, text := c.spec.ReadinessProbe, "is not ready: its readiness probe fails"
	if c.spec.StartupProbe != nil && started != nil && !*started {
		probe, text = c.spec.StartupProbe, "has not started: its startup probe fails"
	}
	if running == nil || c.status.Ready || probe == nil {
		return cause{}
	}
	firstProbe := time.Duration(probe.InitialDelaySeconds)*time.Second + time.Duration(probe.PeriodSeconds)*time.Second
	if !longAgo(running.StartedAt.Time, now, max(startTimeout, firstProbe)) {
		return cause{}
	}
	return c.cause(text)
}
