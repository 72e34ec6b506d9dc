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
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	modulePath     = "github.com/kubeflow/ray-operator/hack/cluster"
	kubernetesPath = "k8s.io/kubernetes"
)

// controlPlanePackages and nodePackages are the programs of a cluster, and those that only a real
// node requires. The versions are in go.mod.
var (
	controlPlanePackages = []string{
		"go.etcd.io/etcd/server/v3",
		"k8s.io/kubernetes/cmd/kube-apiserver",
		"k8s.io/kubernetes/cmd/kube-controller-manager",
		"k8s.io/kubernetes/cmd/kube-scheduler",
		"k8s.io/kubernetes/cmd/kubectl",
		"sigs.k8s.io/kwok/cmd/kwok",
		"sigs.k8s.io/kwok/cmd/kwokctl",
	}
	nodePackages = []string{
		"k8s.io/kubernetes/cmd/kube-proxy",
		"k8s.io/kubernetes/cmd/kubelet",
		modulePath + "/coredns",
		modulePath + "/kube-router",
		modulePath + "/pause",
	}
)

// module is the Go module of this program. Its go.mod determines what is built.
type module struct {
	dir        string // directory of go.mod
	repo       string // root of the repository
	kubernetes string // version of Kubernetes, such as v1.37.2
}

func findModule(ctx context.Context) (module, error) {
	dir, err := listModule(ctx, "{{.Dir}}", modulePath)
	if err != nil {
		return module{}, fmt.Errorf("finding the module %s: %w; run this in hack/cluster", modulePath, err)
	}
	version, err := listModule(ctx, "{{.Version}}", kubernetesPath)
	if err != nil {
		return module{}, err
	}
	return module{dir: dir, repo: filepath.Dir(filepath.Dir(dir)), kubernetes: version}, nil
}

func listModule(ctx context.Context, format, path string) (string, error) {
	out, err := output(ctx, command(ctx, "go", "list", "-m", "-f", format, path))
	return strings.TrimSpace(out), err
}

// buildAll compiles the control plane and the simulator of nodes, and for a real node also its programs.
func (m module) buildAll(ctx context.Context, bin string, realNode bool, p progress) error {
	packages := controlPlanePackages
	if realNode {
		if err := m.unpackNodePackages(ctx, bin, p); err != nil {
			return err
		}
		packages = slices.Concat(packages, nodePackages)
	}
	return m.build(ctx, bin, packages, p)
}

// build compiles packages into the directory bin.
func (m module) build(ctx context.Context, bin string, packages []string, p progress) error {
	flags, err := linkerFlags(m.kubernetes)
	if err != nil {
		return err
	}
	var stale map[string]bool
	err = p.step("checking packages", func(report reporter) (string, error) {
		var total int
		var err error
		stale, total, err = m.list(ctx, packages, report)
		return fmt.Sprintf("checked %d packages", total), err
	})
	if err != nil {
		return err
	}
	return p.step("linking", func(report reporter) (string, error) {
		if err := m.compile(ctx, bin, packages, flags, stale, report); err != nil {
			return "", err
		}
		if len(stale) == 0 {
			return "all binaries are up to date", nil
		}
		return fmt.Sprintf("compiled %d packages", len(stale)), nil
	})
}

// list loads packages with their dependencies, and downloads missing modules. It returns the packages
// that must be compiled, and the total number of packages.
func (m module) list(ctx context.Context, packages []string, report reporter) (stale map[string]bool, total int, err error) {
	// Without EmbedFiles the go command does not load embedded files, and reports all packages
	// that depend on one as stale.
	args := []string{"list", "-trimpath", "-deps", "-json=ImportPath,Stale,StaleReason,EmbedFiles"}
	cmd := m.goCommand(ctx, append(args, packages...)...)
	var stdout bytes.Buffer
	var messages strings.Builder
	cmd.Stdout = &stdout
	cmd.Stderr = &lineWriter{line: func(line string) {
		if mod, ok := strings.CutPrefix(line, "go: downloading "); ok {
			report("downloading modules", mod)
			return
		}
		fmt.Fprintln(&messages, line)
	}}
	if err := cmd.Run(); err != nil {
		return nil, 0, commandError(ctx, "go list", err, messages.String())
	}
	return stalePackages(&stdout)
}

// stalePackages parses the output of go list -json. go list also reports a cached package as
// stale if its binary is not installed; such a package is skipped.
func stalePackages(r io.Reader) (stale map[string]bool, total int, err error) {
	const cached = "not installed but available in build cache"
	stale = make(map[string]bool)
	decoder := json.NewDecoder(r)
	for {
		var pkg struct {
			ImportPath  string
			Stale       bool
			StaleReason string
		}
		err := decoder.Decode(&pkg)
		if errors.Is(err, io.EOF) {
			return stale, total, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("parsing the output of go list: %w", err)
		}
		total++
		if pkg.Stale && pkg.StaleReason != cached {
			stale[pkg.ImportPath] = true
		}
	}
}

// compile runs go build and reports each package that it compiles.
func (m module) compile(ctx context.Context, bin string, packages []string, linkerFlags string, stale map[string]bool, report reporter) error {
	// The go command renames finished binaries if the temporary directory is on the same file
	// system, and copies them otherwise. An interrupted copy would leave a partial binary that
	// the next build takes for complete.
	tmp, err := os.MkdirTemp(bin, ".build-")
	if err != nil {
		return fmt.Errorf("creating a temporary directory: %w", err)
	}
	defer os.RemoveAll(tmp)

	// With a trailing separator the go command treats out as a directory.
	out := bin + string(filepath.Separator)
	args := []string{"build", "-v", "-trimpath", "-ldflags", linkerFlags, "-o", out}
	cmd := m.goCommand(ctx, append(args, packages...)...)
	cmd.Env = append(cmd.Env, "GOTMPDIR="+tmp)
	compiled := 0
	var messages strings.Builder
	cmd.Stderr = &lineWriter{line: func(line string) {
		if !stale[line] {
			fmt.Fprintln(&messages, line)
			return
		}
		compiled++
		if compiled == len(stale) {
			report("linking", "")
			return
		}
		report(fmt.Sprintf("compiling %d of %d packages", compiled, len(stale)), line)
	}}
	if err := cmd.Run(); err != nil {
		return commandError(ctx, "go build", err, messages.String())
	}
	return nil
}

func (m module) goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := command(ctx, "go", args...)
	cmd.Dir = m.dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd
}

// linkerFlags returns linker flags that set the version of Kubernetes in its binaries. The
// default is v0.0.0; kwokctl and clients use the version to detect features of the server.
func linkerFlags(version string) (string, error) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) != 3 {
		return "", fmt.Errorf("version %q of %s is not of the form v1.2.3", version, kubernetesPath)
	}
	const variable = " -X k8s.io/component-base/version."
	return "-s -w" +
		variable + "gitVersion=" + version +
		variable + "gitMajor=" + parts[0] +
		variable + "gitMinor=" + parts[1], nil
}
