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
	"strings"
)

// debianPackages is a directory of unpacked Debian packages.
type debianPackages string

// nodePackageNames are the packages that a real node requires.
var nodePackageNames = []string{"containerd", "runc", "containernetworking-plugins", "nftables", "iptables", "ipset", "iproute2"}

// unpackNodePackages downloads and unpacks missing packages to the directory bin.
func (m module) unpackNodePackages(ctx context.Context, bin string, p progress) error {
	return p.step("unpacking Debian packages", func(reporter) (string, error) {
		args := append([]string{"--into", string(packagesIn(bin))}, nodePackageNames...)
		cmd := command(ctx, filepath.Join(m.repo, "hack", "debian-package.sh"), args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", commandError(ctx, "hack/debian-package.sh", err, string(out))
		}
		return "containerd, runc and CNI plugins are unpacked", packagesIn(bin).linkIPTables()
	})
}

func packagesIn(bin string) debianPackages { return debianPackages(filepath.Join(bin, "debian")) }

// linkIPTables creates links for the programs of iptables, which a package does only when it is
// installed. They change nftables.
func (d debianPackages) linkIPTables() error {
	for _, name := range []string{"iptables", "iptables-restore", "iptables-save"} {
		err := os.Symlink("xtables-nft-multi", filepath.Join(string(d), "usr", "sbin", name))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("linking %s: %w", name, err)
		}
	}
	return nil
}

// programDirs are the directories of programs.
func (d debianPackages) programDirs() []string {
	root := string(d)
	return []string{filepath.Join(root, "usr", "bin"), filepath.Join(root, "usr", "sbin"), filepath.Join(root, "sbin")}
}

// cniPlugins is the directory of the CNI plugins.
func (d debianPackages) cniPlugins() string { return filepath.Join(string(d), "usr", "lib", "cni") }

// program returns the path of a program in the packages, or else in $PATH.
func (d debianPackages) program(name string) string {
	for _, dir := range d.programDirs() {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return name
}

// environ is the environment of programs in the packages, which use each other and require
// libraries of other packages.
func (d debianPackages) environ() []string {
	libraries, err := filepath.Glob(filepath.Join(string(d), "usr", "lib", "*-linux-gnu*"))
	if err != nil {
		panic(err) // the pattern is malformed
	}
	var extensions []string
	for _, dir := range libraries {
		extensions = append(extensions, filepath.Join(dir, "xtables"))
	}
	const separator = string(filepath.ListSeparator)
	return []string{
		"PATH=" + strings.Join(d.programDirs(), separator) + separator + os.Getenv("PATH"),
		"LD_LIBRARY_PATH=" + strings.Join(libraries, separator),
		"XTABLES_LIBDIR=" + strings.Join(extensions, separator), // for iptables
	}
}

// run runs a program of the packages and returns its output.
func (d debianPackages) run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := command(ctx, d.program(name), args...)
	cmd.Env = d.environ()
	return output(ctx, cmd)
}
