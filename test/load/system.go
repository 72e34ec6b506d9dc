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

// The names of processes in a measurement. Components of the cluster have their own.
const (
	operatorProcess = "ray-operator"
	loadProcess     = "load" // this program
	otherProcesses  = "other"
)

// mib is the unit in which memory is reported.
const mib = 1 << 20

// usage is the CPU time that processes have used since they started, in seconds, by name. What
// all of the machine has used is "other" until it is compared.
type usage map[string]float64

// readUsage reads what the processes in pids have used. Those that do not run have used nothing.
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
	// Guests are a part of user already.
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

// since returns what was used since an earlier reading. A process that was not there then has
// used all that it has since.
func (u usage) since(before usage) usage {
	used := usage{}
	ours := 0.0
	for name, seconds := range u {
		used[name] = seconds - before[name]
		if name != otherProcesses {
			ours += used[name]
		}
	}
	used[otherProcesses] = max(0, used[otherProcesses]-ours)
	return used
}

// memory returns what a process has in memory, and the most that it had, in MiB.
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

// findComponents returns the processes of a cluster, from the files that kwokctl keeps in its
// directory.
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
			return nil, fmt.Errorf("reading the process of %s: %w", name, err)
		}
	}
	if len(pids) == 1 {
		return nil, fmt.Errorf("there is no process of a cluster in %s", cluster)
	}
	return pids, nil
}

// withOperator returns pids with the operator's beside.
func withOperator(pids map[string]int, operator int) map[string]int {
	all := maps.Clone(pids)
	if operator != 0 {
		all[operatorProcess] = operator
	}
	return all
}

// describeMachine returns where an operator is measured.
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
		return machine{}, fmt.Errorf("reading how the operator was built: %w", err)
	}
	version, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		return machine{}, fmt.Errorf("asking the operator for its version: %w", err)
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
