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
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroupHierarchies returns the directories at which cgroups are mounted: one for cgroup v2, one for
// each controller for v1.
func cgroupHierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{cgroupRoot}, nil
	}
	mounts, err := filepath.Glob(filepath.Join(cgroupRoot, "*", "cgroup.procs"))
	if err != nil {
		return nil, fmt.Errorf("listing cgroups: %w", err)
	}
	var hierarchies []string
	for _, file := range mounts {
		// Controllers that are mounted together have symbolic links.
		dir, err := filepath.EvalSymlinks(filepath.Dir(file))
		if err != nil {
			return nil, fmt.Errorf("listing cgroups: %w", err)
		}
		if !slices.Contains(hierarchies, dir) {
			hierarchies = append(hierarchies, dir)
		}
	}
	if len(hierarchies) == 0 {
		return nil, fmt.Errorf("no cgroups are mounted below %s", cgroupRoot)
	}
	return hierarchies, nil
}

// createCgroup creates the cgroup name for the node, and moves the process pid into a child of it.
// Each process of the node then is in one of its descendants.
func createCgroup(name string, pid int) error {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range hierarchies {
		for _, dir := range []string{filepath.Join(hierarchy, name), filepath.Join(hierarchy, name, "daemons")} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("creating a cgroup: %w", err)
			}
			if err := inheritCPUs(dir); err != nil {
				return err
			}
		}
		procs := filepath.Join(hierarchy, name, "daemons", "cgroup.procs")
		if err := os.WriteFile(procs, []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("moving the node into its cgroup: %w", err)
		}
	}
	return nil
}

// inheritCPUs gives the cgroup dir the CPUs and memory nodes of its parent. In cgroup v1 a new cgroup
// has none, and cannot contain processes.
func inheritCPUs(dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another controller
		}
		if err != nil {
			return fmt.Errorf("reading the parent of a cgroup: %w", err)
		}
		if strings.TrimSpace(string(value)) == "" {
			continue // cgroup v2 inherits by default
		}
		if err := os.WriteFile(filepath.Join(dir, file), value, 0); err != nil {
			return fmt.Errorf("setting the CPUs of a cgroup: %w", err)
		}
	}
	return nil
}

// removeCgroup removes the cgroup name with its descendants, and waits until their processes have
// exited.
func removeCgroup(ctx context.Context, name string) error {
	dirs, err := filepath.Glob(filepath.Join(cgroupRoot, "*", name))
	if err != nil {
		return fmt.Errorf("listing cgroups: %w", err)
	}
	for _, dir := range append(dirs, filepath.Join(cgroupRoot, name)) {
		for {
			err := removeCgroupDir(dir)
			if err == nil {
				break
			}
			if sleep(ctx, pollInterval) != nil {
				return fmt.Errorf("removing a cgroup: %w", err)
			}
		}
	}
	return nil
}

// removeCgroupDir removes a cgroup and its descendants, which must not contain processes.
func removeCgroupDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue // files of the kernel, which cannot be removed
		}
		if err := removeCgroupDir(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return os.Remove(dir)
}
