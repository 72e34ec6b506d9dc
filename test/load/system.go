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

package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// Names of processes in a measurement, besides the components of the cluster.
const (
	operatorProcess = "ray-operator"
	loadProcess     = "load" // This program.
	otherProcesses  = "other"
)

// mib is the unit of memory in reports.
const mib = 1 << 20

// usage is the CPU time of processes in seconds, by name. "other" is the CPU time of the machine in
// a reading, and that of all other processes in a difference.
type usage map[string]float64

// readUsage reads the CPU time of processes and of the machine.
func readUsage(pids map[string]int) (usage, error) {
	used := usage{}
	for name, pid := range pids {
		seconds, err := cpuSeconds(pid)
		if err != nil {
			return nil, fmt.Errorf("reading the CPU time of %s: %w", name, err)
		}
		used[name] = seconds
	}
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, err
	}
	stat, err := fs.Stat()
	if err != nil {
		return nil, err
	}
	total := stat.CPUTotal
	// User includes guests.
	used[otherProcesses] = total.User + total.Nice + total.System + total.IRQ + total.SoftIRQ + total.Steal
	return used, nil
}

func cpuSeconds(pid int) (float64, error) {
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return 0, err
	}
	stat, err := proc.Stat()
	return stat.CPUTime(), err
}

// since returns the usage since an earlier reading. A process without an earlier reading was started
// since.
func (u usage) since(before usage) usage {
	used := usage{}
	measured := 0.0
	for name, seconds := range u {
		used[name] = seconds - before[name]
		if name != otherProcesses {
			measured += used[name]
		}
	}
	used[otherProcesses] = max(0, used[otherProcesses]-measured)
	return used
}

// memory returns the resident memory of a process and its peak, in MiB.
func memory(pid int) (resident, peak float64, err error) {
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return 0, 0, fmt.Errorf("reading the operator's memory: %w", err)
	}
	status, err := proc.NewStatus()
	if err != nil {
		return 0, 0, fmt.Errorf("reading the operator's memory: %w", err)
	}
	return float64(status.VmRSS) / mib, float64(status.VmHWM) / mib, nil
}

// findComponents returns the process IDs of the components of a cluster, which kwokctl stores in its
// directory, and that of this program.
func findComponents(cluster string) (map[string]int, error) {
	files, err := filepath.Glob(filepath.Join(cluster, "pids", "*.pid"))
	if err != nil {
		return nil, err
	}
	pids := map[string]int{loadProcess: os.Getpid()}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(filepath.Base(file), ".pid")
		if pids[name], err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			return nil, fmt.Errorf("parsing the process ID of %s: %w", name, err)
		}
	}
	if len(pids) == 1 {
		return nil, fmt.Errorf("%s has no process IDs of a cluster", cluster)
	}
	return pids, nil
}

// withOperator adds the process ID of the operator, unless it is 0.
func withOperator(pids map[string]int, operator int) map[string]int {
	all := maps.Clone(pids)
	if operator != 0 {
		all[operatorProcess] = operator
	}
	return all
}

// describeMachine returns the machine and the versions.
func describeMachine(ctx context.Context, binary, kubernetes string) (machine, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return machine{}, err
	}
	cpus, err := fs.CPUInfo()
	if err != nil {
		return machine{}, err
	}
	build, err := buildinfo.ReadFile(binary)
	if err != nil {
		return machine{}, fmt.Errorf("reading the build information of the operator: %w", err)
	}
	version, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		return machine{}, fmt.Errorf("getting the version of the operator: %w", err)
	}
	here := machine{
		Cores:      runtime.NumCPU(),
		Kubernetes: kubernetes,
		Operator:   strings.TrimSpace(string(version)),
		Go:         build.GoVersion,
	}
	if len(cpus) > 0 {
		here.CPU = cpus[0].ModelName
	}
	return here, nil
}
