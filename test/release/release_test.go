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

// Package release tests two releases of the same commit, which hack/test-release.sh builds in
// different directories.
package release

import (
	"archive/tar"
	"compress/gzip"
	"debug/elf"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// Set by hack/test-release.sh.
var (
	version  = flag.String("version", "", "version of the releases, such as v1.2.3")
	image    = flag.String("image", "", "repository of the image in the manifests and the chart")
	one      = flag.String("one", "", "directory of the first release")
	two      = flag.String("two", "", "directory of the second release")
	helm     = flag.String("helm", "", "path of helm")
	imageDir = flag.String("image-dir", "", "directory with the binaries that the Dockerfile builds, as ray-operator-ARCH")
)

func TestMain(m *testing.M) {
	harness.ParseFlags("test-release", "one")
	os.Exit(m.Run())
}

// TestFiles verifies the list of files, and that builds are reproducible.
func TestFiles(t *testing.T) {
	want := []string{
		"SHA256SUMS",
		"crd.yaml",
		"install.yaml",
		"operator.yaml",
		"ray-operator-" + (*version)[1:] + ".tgz",
		"ray-operator-" + *version + "-linux-amd64",
		"ray-operator-" + *version + "-linux-amd64.cdx.json",
		"ray-operator-" + *version + "-linux-arm64",
		"ray-operator-" + *version + "-linux-arm64.cdx.json",
	}
	for _, dir := range []string{*one, *two} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("files in %s (-want +got):\n%s", dir, diff)
		}
	}
	for _, name := range want {
		if read(t, filepath.Join(*one, name)) != read(t, filepath.Join(*two, name)) {
			t.Errorf("two builds of %s differ", name)
		}
	}
}

func TestChecksums(t *testing.T) {
	command := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", "SHA256SUMS")
	command.Dir = *one
	out, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	// All files except SHA256SUMS.
	if got := strings.Count(string(out), ": OK\n"); got != 8 {
		t.Errorf("got %d valid checksums, want 8:\n%s", got, out)
	}
}

// TestBinaries verifies that the binaries are static, are built for the right architecture, and are
// identical to those in the image.
func TestBinaries(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		t.Run(arch, func(t *testing.T) {
			file, err := elf.Open(binary(arch))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if file.Machine != machine {
				t.Errorf("machine: got %v, want %v", file.Machine, machine)
			}
			for _, program := range file.Progs {
				if program.Type == elf.PT_INTERP || program.Type == elf.PT_DYNAMIC {
					t.Errorf("not statically linked: the binary has a segment %v", program.Type)
				}
			}
			if read(t, binary(arch)) != read(t, filepath.Join(*imageDir, "ray-operator-"+arch)) {
				t.Error("the Dockerfile builds a different binary")
			}
		})
	}
	out := output(t, binary(runtime.GOARCH), "--version")
	if want := "ray-operator " + *version; !strings.Contains(out, *version) {
		t.Errorf("--version: got %q, want %q", out, want)
	}
}

// TestSBOMs compares the software bills of materials with the output of `go version -m`.
func TestSBOMs(t *testing.T) {
	type component struct{ Name, Version, Purl string }
	type dependency struct {
		Ref       string
		DependsOn []string
	}
	var bill struct {
		BOMFormat, SpecVersion string
		Metadata               struct{ Component component }
		Components             []component
		Dependencies           []dependency
	}
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			if err := json.Unmarshal([]byte(read(t, binary(arch)+".cdx.json")), &bill); err != nil {
				t.Fatal(err)
			}
			if bill.BOMFormat != "CycloneDX" || bill.SpecVersion != "1.6" {
				t.Errorf("format: got %s %s, want CycloneDX 1.6", bill.BOMFormat, bill.SpecVersion)
			}
			goVersion, mainModule, want := modules(t, binary(arch))
			want = append(want, "std "+goVersion)
			slices.Sort(want)
			var got, purls []string
			for _, component := range bill.Components {
				got = append(got, component.Name+" "+component.Version)
				purls = append(purls, component.Purl)
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("components (-go version -m +SBOM):\n%s", diff)
			}
			main := component{mainModule, *version, "pkg:golang/" + mainModule + "@" + *version + "?goarch=" + arch + "&goos=linux"}
			if diff := cmp.Diff(main, bill.Metadata.Component); diff != "" {
				t.Errorf("main component (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]dependency{{main.Purl, purls}}, bill.Dependencies); diff != "" {
				t.Errorf("dependencies (-want +got):\n%s", diff)
			}
		})
	}
}

// modules parses the output of `go version -m`: the Go version, the main module, and the other
// modules with their versions.
func modules(t *testing.T, name string) (goVersion, mainModule string, others []string) {
	t.Helper()
	for line := range strings.Lines(output(t, "go", "version", "-m", name)) {
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, name+": go"):
			goVersion = strings.TrimPrefix(fields[len(fields)-1], "go")
		case fields[0] == "mod":
			mainModule = fields[1]
		case fields[0] == "dep":
			others = append(others, fields[1]+" "+fields[2])
		case fields[0] == "=>":
			others[len(others)-1] = fields[1] + " " + fields[2]
		}
	}
	if goVersion == "" || mainModule == "" || len(others) < 10 {
		t.Fatalf("go version -m %s: unexpected output", name)
	}
	return goVersion, mainModule, others
}

// TestManifests verifies the image, and that crd.yaml and operator.yaml together are install.yaml.
func TestManifests(t *testing.T) {
	install, crd := read(t, filepath.Join(*one, "install.yaml")), read(t, filepath.Join(*one, "crd.yaml"))
	if want := fmt.Sprintf("image: %s:%s\n", *image, *version); strings.Count(install, "image: ") < 1 || !strings.Contains(install, want) {
		t.Errorf("install.yaml does not contain %q", want)
	}
	if !strings.HasPrefix(crd, "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n") || !strings.Contains(install, crd) {
		t.Error("crd.yaml is not the CustomResourceDefinition of install.yaml")
	}
	// operator.yaml has all documents of install.yaml except the CustomResourceDefinition.
	operator := read(t, filepath.Join(*one, "operator.yaml"))
	for document := range strings.SplitSeq(install, "\n---\n") {
		document = strings.TrimSpace(document)
		if isCRD := document == strings.TrimSpace(crd); strings.Contains(operator, document) == isCRD {
			t.Errorf("operator.yaml contains a document of install.yaml: got %t, want %t:\n%.200s", isCRD, !isCRD, document)
		}
	}
}

// TestChart verifies the packaged chart. test/chart tests its templates.
func TestChart(t *testing.T) {
	name := filepath.Join(*one, "ray-operator-"+(*version)[1:]+".tgz")
	rendered := output(t, *helm, "template", "ray-operator", name, "--namespace", "ray-system")
	if want := fmt.Sprintf("image: \"%s:%s\"\n", *image, *version); !strings.Contains(rendered, want) {
		t.Errorf("the rendered chart does not contain %q", want)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	contents := map[string]string{}
	archive := tar.NewReader(unzipped)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag != tar.TypeReg && header.Typeflag != tar.TypeDir {
			t.Errorf("%s is neither a file nor a directory", header.Name)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		contents[header.Name] = string(data)
	}
	for name, want := range map[string]string{
		"ray-operator/Chart.yaml":                           "\nversion: " + (*version)[1:] + "\n",
		"ray-operator/values.yaml":                          "\n  repository: " + *image + "\n",
		"ray-operator/templates/deployment.yaml":            "kind: Deployment\n",
		"ray-operator/files/policy/pod_rights.yaml":         "kind: ValidatingAdmissionPolicy\n",
		"ray-operator/files/crd/ray.kubeflow.org_rays.yaml": "kind: CustomResourceDefinition\n",
	} {
		if !strings.Contains(contents[name], want) {
			t.Errorf("%s does not contain %q:\n%s", name, want, contents[name])
		}
	}
	if want := "appVersion: " + *version + "\n"; !strings.Contains(contents["ray-operator/Chart.yaml"], want) {
		t.Errorf("Chart.yaml does not contain %q", want)
	}
}

func binary(arch string) string {
	return filepath.Join(*one, "ray-operator-"+*version+"-linux-"+arch)
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}
