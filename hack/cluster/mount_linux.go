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
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// privateDirs are replaced inside of the node. containerd, the kubelet and CNI plugins use fixed paths
// in them, such as /run/netns and /var/lib/kubelet/device-plugins.
var privateDirs = []string{"/run", "/var/lib", "/var/log"}

// kernelParameters are set by the kubelet. They affect the whole machine.
var kernelParameters = []string{
	"/proc/sys/kernel/keys/root_maxbytes", "/proc/sys/kernel/keys/root_maxkeys",
	"/proc/sys/kernel/panic", "/proc/sys/kernel/panic_on_oops",
	"/proc/sys/vm/overcommit_memory", "/proc/sys/vm/panic_on_oom",
}

// checkFilesystem returns an error if dir cannot contain the file systems of containers.
func checkFilesystem(dir string) error {
	const overlayfs = 0x794c7630 // OVERLAYFS_SUPER_MAGIC
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return fmt.Errorf("reading the type of the file system of %s: %w", dir, err)
	}
	if stat.Type == overlayfs {
		return fmt.Errorf("%s is on overlayfs, as are containers, which overlayfs does not support: set --dir to a directory on another file system", dir)
	}
	return nil
}

// mount sets up the mount namespace of the node.
func (n nodeConfig) mount() error {
	// Do not propagate mounts to the machine.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("separating the mounts of the node: %w", err)
	}
	// Show the processes of the node.
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	for _, dir := range privateDirs {
		if err := n.replaceDir(dir); err != nil {
			return err
		}
	}
	if err := n.protectKernelParameters(); err != nil {
		return err
	}
	// The kubelet requires that volumes can propagate mounts to containers.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""); err != nil {
		return fmt.Errorf("sharing mounts with containers: %w", err)
	}
	return nil
}

// replaceDir mounts an empty directory over dir. Directories that must be kept and are below dir are
// mounted into the empty directory first.
func (n nodeConfig) replaceDir(dir string) error {
	root := filepath.Join(n.Dir, "root", dir)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("creating a directory of the node: %w", err)
	}
	for _, keep := range n.KeepDirs {
		relative, ok := strings.CutPrefix(keep, dir+"/")
		if !ok {
			continue
		}
		target := filepath.Join(root, relative)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return fmt.Errorf("creating a directory of the node: %w", err)
		}
		if err := bind(keep, target); err != nil {
			return err
		}
	}
	return bind(root, dir)
}

// protectKernelParameters gives the kubelet copies of the kernel parameters that it sets.
func (n nodeConfig) protectKernelParameters() error {
	for _, parameter := range kernelParameters {
		value, err := os.ReadFile(parameter)
		if err != nil {
			return fmt.Errorf("reading a kernel parameter: %w", err)
		}
		replacement := filepath.Join(n.Dir, parameter)
		if err := os.MkdirAll(filepath.Dir(replacement), 0o755); err != nil {
			return fmt.Errorf("creating a directory of the node: %w", err)
		}
		if err := os.WriteFile(replacement, value, 0o644); err != nil {
			return fmt.Errorf("copying a kernel parameter: %w", err)
		}
		if err := bind(replacement, parameter); err != nil {
			return err
		}
	}
	return nil
}

func bind(source, target string) error {
	if err := syscall.Mount(source, target, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("mounting %s to %s: %w", source, target, err)
	}
	return nil
}
