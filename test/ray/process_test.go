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

package ray

import (
	"strings"
	"testing"

	"github.com/prometheus/procfs"
	corev1 "k8s.io/api/core/v1"
)

// process is a process of a Pod. The node runs on this machine.
type process struct {
	pid     int
	command []string
	// container is the ID of its container.
	container string
	// first is whether it is the first process of its container.
	first bool
}

// podProcesses returns the processes of a Pod, by the cgroup that the kubelet has made for the Pod.
func podProcesses(t testing.TB, pod *corev1.Pod) []process {
	t.Helper()
	all, err := procfs.AllProcs()
	if err != nil {
		t.Fatal(err)
	}
	var found []process
	for _, p := range all {
		cgroups, err := p.Cgroups()
		if err != nil {
			continue // it has exited
		}
		for _, cgroup := range cgroups {
			_, inPod, ok := strings.Cut(cgroup.Path, "/pod"+string(pod.UID)+"/")
			if !ok {
				continue
			}
			command, _ := p.CmdLine()
			status, err := p.NewStatus()
			if err != nil || len(status.NSpids) == 0 {
				break
			}
			// The last ID is the one in the namespace of the container.
			first := status.NSpids[len(status.NSpids)-1] == 1
			found = append(found, process{p.PID, command, inPod, first})
			break
		}
	}
	return found
}
