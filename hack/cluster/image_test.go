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
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func readTar(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWriteImage(t *testing.T) {
	program := filepath.Join(t.TempDir(), "hello")
	if err := os.WriteFile(program, []byte("binary"), 0o755); err != nil {
		t.Fatal(err)
	}
	var image bytes.Buffer
	if err := writeImage(&image, "localhost/hello:1", program); err != nil {
		t.Fatal(err)
	}
	files := readTar(t, &image)

	var manifest []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest) != 1 || len(manifest[0].Layers) != 1 || manifest[0].RepoTags[0] != "localhost/hello:1" {
		t.Fatalf("manifest = %+v, want one image with one layer and its name", manifest)
	}
	layer := files[manifest[0].Layers[0]]
	if got := readTar(t, bytes.NewReader(layer))["program"]; string(got) != "binary" {
		t.Errorf("/program = %q, want %q", got, "binary")
	}
	var config struct {
		Config struct{ User string }
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal(files[manifest[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	// The kubelet verifies runAsNonRoot only for a numeric user.
	if config.Config.User != "65532:65532" {
		t.Errorf("user = %q, want one that is numeric and not root", config.Config.User)
	}
	// containerd refuses images with another digest.
	want := fmt.Sprintf("sha256:%x", sha256.Sum256(layer))
	if len(config.RootFS.DiffIDs) != 1 || config.RootFS.DiffIDs[0] != want {
		t.Errorf("digests = %q, want %q", config.RootFS.DiffIDs, want)
	}
}
