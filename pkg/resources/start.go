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

package resources

import (
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// This file generates what a container needs to run a Ray node, if the user's template has no command.
// docs/ray.md explains each setting to users.

const (
	// drainSeconds is for how long a worker lets its tasks finish after SIGTERM, which is Ray's default.
	drainSeconds = 30
	// exitSeconds is for how long Ray may take to terminate its processes after that. It needs up to
	// three seconds for each kind of process.
	exitSeconds = 15
	// leaveSeconds is for how long a head goes on serving before it shuts down. An idle worker leaves
	// its cluster within a second.
	leaveSeconds = 3
	// drainTimeoutEnv is Ray's setting for drainSeconds. 0 means that a node kills its tasks at once.
	drainTimeoutEnv = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"

	sharedMemoryPath   = "/dev/shm"
	sharedMemoryVolume = "dev-shm"
)

// launcher runs ray with the container's arguments. It raises the limit of open files first, since the default of some
// container runtimes, 1024, is too low for a head.
//
// The shell remains, to pass SIGTERM on: the first process of a container ignores it until it handles it, which ray does
// only after seconds. A worker that is removed while it starts would join, get tasks, and be killed with them.
var launcher = []string{
	"/bin/sh", "-c",
	`trap 'exit 143' TERM; ` +
		`n=$(ulimit -Sn); [ "$n" = unlimited ] || [ "$n" -ge 65536 ] || ulimit -Sn 65536 2>/dev/null || ulimit -Sn "$(ulimit -Hn)"; ` +
		`ray "$@" & trap 'kill -TERM $!' TERM; ` +
		`while wait $!; code=$?; kill -0 $! 2>/dev/null; do :; done; exit $code`,
	"ray",
}

// generatesStart returns whether the operator generates the command of a group's first container.
func generatesStart(template *corev1.PodTemplateSpec) bool {
	containers := template.Spec.Containers
	return len(containers) > 0 && len(containers[0].Command) == 0 && len(containers[0].Args) == 0
}

// addStart makes the first container of a template, which has no command, run a node of a group. What
// the user set remains.
func addStart(ray *rayv1.Ray, group Group, template *corev1.PodTemplateSpec) {
	spec := &template.Spec
	container := &spec.Containers[0]
	container.Command = launcher
	container.Args = startArgs(ray, group)
	container.Ports = addMissingPorts(container.Ports, unusedPorts(startPorts(group.Role, group.Start), spec.Containers[1:]))
	addStartProbes(container, group.Role)
	if directory := flagValue(group.Start, "--plasma-directory"); directory == "" || isSharedMemory(directory) {
		addSharedMemory(spec)
	}
	drain := setGracePeriod(spec, group.Role)
	if group.IsHead() {
		addPreStop(spec)
	}
	container.Env = prependMissing(startEnvironment(group, drain), container.Env)
	if spec.EnableServiceLinks == nil {
		// The variables of a Service "ray-gcs-server" would set an option of Ray.
		spec.EnableServiceLinks = new(false)
	}
}

// startArgs returns the arguments of ray for a node of a group. A flag in the user's arguments replaces
// the generated one.
func startArgs(ray *rayv1.Ray, group Group) []string {
	args := []string{"start", "--block", "--node-ip-address=$(MY_POD_IP)", "--node-name=$(RAY_CLOUD_INSTANCE_ID)"}
	if group.IsHead() {
		args = append(args, "--head", "--port="+strconv.Itoa(gcsPort), "--dashboard-host=0.0.0.0")
		args = append(args, gcsArgs(group.GCS)...)
		if group.ExternalAutoscaler {
			args = append(args, noMonitorFlag)
		}
	} else {
		args = append(args, "--address="+ServiceName(ray)+":"+strconv.Itoa(gcsPort))
	}
	args = append(args, "--node-manager-port="+strconv.Itoa(rayletPort), "--dashboard-agent-listen-port="+strconv.Itoa(agentPort), "--metrics-export-port="+strconv.Itoa(metricsPort))

	args = append(args, resourceArgs(startResources(group))...)

	var users []string
	if group.Start != nil {
		users = group.Start.Args
	}
	args = slices.DeleteFunc(args, func(arg string) bool {
		return slices.ContainsFunc(users, func(user string) bool { return flagName(user) == flagName(arg) })
	})
	return append(args, users...)
}

// flagName returns the name of a flag without its value.
func flagName(arg string) string {
	name, _, _ := strings.Cut(arg, "=")
	return name
}

// flagValue returns the value of a flag among the user's arguments, or "".
func flagValue(start *rayv1.StartSpec, flag string) string {
	if start == nil {
		return ""
	}
	for _, arg := range start.Args {
		if name, value, _ := strings.Cut(arg, "="); name == flag {
			return value
		}
	}
	return ""
}

// startEnvironment returns Ray's variables that a node of a group needs.
func startEnvironment(group Group, drain int64) []corev1.EnvVar {
	env := append(nodeEnvironment(group), corev1.EnvVar{Name: drainTimeoutEnv, Value: strconv.FormatInt(drain, 10)})
	if group.ExternalAutoscaler {
		env = append(env, corev1.EnvVar{Name: autoscalerEnv, Value: "1"})
	}
	if !group.IsHead() && group.GCS == nil {
		// By default a worker takes up to a minute to notice that the head was replaced. It must notice, and not
		// be ready, before the new head is available. With a storage, the new head continues the same cluster.
		env = append(env, corev1.EnvVar{Name: "RAY_raylet_liveness_self_check_interval_ms", Value: "2000"})
	}
	if group.Start != nil && len(group.Start.Labels) > 0 {
		// The format of the flag --labels differs between versions of Ray, that of the variable does not.
		env = append(env, corev1.EnvVar{Name: "RAY_OVERRIDE_LABELS", Value: mustMarshal(group.Start.Labels)})
	}
	return env
}

// nodeEnvironment returns the variables with which a node reports its Pod and its group to the GCS.
func nodeEnvironment(group Group) []corev1.EnvVar {
	podName := &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}
	return []corev1.EnvVar{
		{Name: "RAY_CLOUD_INSTANCE_ID", ValueFrom: podName},
		{Name: "RAY_NODE_TYPE_NAME", Value: group.Name},
	}
}

// setGracePeriod sets how long a Pod may take to terminate, unless the user did, and returns for how many
// seconds of that a node lets its tasks finish. A head does not: it has no clients left, and the
// next one waits for it.
func setGracePeriod(spec *corev1.PodSpec, role rayv1.Role) int64 {
	if role == rayv1.RoleHead {
		return 0
	}
	if spec.TerminationGracePeriodSeconds == nil {
		spec.TerminationGracePeriodSeconds = new(int64(drainSeconds + exitSeconds))
	}
	return max(0, *spec.TerminationGracePeriodSeconds-exitSeconds)
}

// addPreStop lets a head serve a little longer, unless the user set a hook, or no time for it. Workers
// that terminate at the same time, since their Ray is deleted, announce it to the GCS. Without an answer they wait
// for all of their drain timeout.
func addPreStop(spec *corev1.PodSpec) {
	container := &spec.Containers[0]
	if period := spec.TerminationGracePeriodSeconds; period != nil && *period <= leaveSeconds {
		return
	}
	if container.Lifecycle == nil {
		container.Lifecycle = &corev1.Lifecycle{}
	}
	if container.Lifecycle.PreStop == nil {
		container.Lifecycle.PreStop = &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: leaveSeconds}}
	}
}

// addSharedMemory mounts memory for Ray's object store, unless the user mounts something there: container
// runtimes provide 64 MiB, and Ray would use a disk instead. The kubelet limits it to the memory limit of the Pod.
func addSharedMemory(spec *corev1.PodSpec) {
	source := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}
	mountVolume(spec, sharedMemoryPath, corev1.Volume{Name: sharedMemoryVolume, VolumeSource: source})
}

// mountVolume mounts a volume into the first container of a Pod, unless the user mounts something at the path. A
// volume of the user's with the same name is mounted instead.
func mountVolume(spec *corev1.PodSpec, mountPath string, volume corev1.Volume) {
	container := &spec.Containers[0]
	if slices.ContainsFunc(container.VolumeMounts, func(mount corev1.VolumeMount) bool { return path.Clean(mount.MountPath) == mountPath }) {
		return
	}
	container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: volume.Name, MountPath: mountPath})
	if !slices.ContainsFunc(spec.Volumes, func(other corev1.Volume) bool { return other.Name == volume.Name }) {
		spec.Volumes = append(spec.Volumes, volume)
	}
}

// isSharedMemory returns whether a directory is in the shared memory.
func isSharedMemory(directory string) bool {
	return strings.HasPrefix(path.Clean(directory)+"/", sharedMemoryPath+"/")
}

// portFlags are the flags of ray start that move a well-known port, by its name.
var portFlags = map[string]string{
	"dashboard": "--dashboard-port",
	"client":    "--ray-client-server-port",
	"metrics":   "--metrics-export-port",
}

// startPorts returns the ports that a node of a group listens on for clients outside of the node. The
// user's arguments may move some of them.
func startPorts(role rayv1.Role, start *rayv1.StartSpec) []corev1.ContainerPort {
	ports := slices.Clone(wellKnownPorts)
	if role != rayv1.RoleHead {
		ports = []corev1.ContainerPort{{Name: "metrics", ContainerPort: metricsPort, Protocol: corev1.ProtocolTCP}}
	}
	for i := range ports {
		if number, err := strconv.ParseInt(flagValue(start, portFlags[ports[i].Name]), 10, 32); err == nil {
			ports[i].ContainerPort = int32(number)
		}
	}
	return ports
}

// unusedPorts returns the ports that no other container lists. On the network of the host, a port must not
// be listed twice in a Pod.
func unusedPorts(ports []corev1.ContainerPort, others []corev1.Container) []corev1.ContainerPort {
	return slices.DeleteFunc(ports, func(port corev1.ContainerPort) bool {
		return slices.ContainsFunc(others, func(other corev1.Container) bool {
			return slices.ContainsFunc(other.Ports, func(used corev1.ContainerPort) bool { return isTCPPort(used, port.ContainerPort) })
		})
	})
}

// addMissingPorts returns the user's ports, followed by those ports that the user does not list. Names
// that the user gives to other ports are omitted: they must be unique.
func addMissingPorts(users, ports []corev1.ContainerPort) []corev1.ContainerPort {
	result := slices.Clone(users)
	for _, port := range ports {
		listed := func(user corev1.ContainerPort) bool { return isTCPPort(user, port.ContainerPort) }
		if slices.ContainsFunc(users, listed) {
			continue
		}
		if slices.ContainsFunc(users, func(user corev1.ContainerPort) bool { return user.Name == port.Name }) {
			port.Name = ""
		}
		result = append(result, port)
	}
	return result
}
