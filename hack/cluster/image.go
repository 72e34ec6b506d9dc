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
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// Images of the node, which have the programs of these names.
const (
	pauseImage = "localhost/pause:1" // holds the namespaces of a Pod
	dnsImage   = "localhost/coredns:1"
)

// writeImage writes an image with one static program as /program in the format of docker save. The
// program does not run as root, unless the Pod says so.
func writeImage(w io.Writer, name, program string) error {
	binary, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("reading the program of an image: %w", err)
	}
	var layer bytes.Buffer
	if err := writeTar(&layer, file{"program", 0o755, binary}); err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": []string{"/program"}, "User": "65532:65532"},
		"rootfs": map[string]any{
			"type":     "layers",
			"diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer.Bytes()))},
		},
	})
	if err != nil {
		return fmt.Errorf("encoding the configuration of an image: %w", err)
	}
	manifest, err := json.Marshal([]map[string]any{{
		"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return fmt.Errorf("encoding the manifest of an image: %w", err)
	}
	return writeTar(w,
		file{"layer.tar", 0o644, layer.Bytes()},
		file{"config.json", 0o644, config},
		file{"manifest.json", 0o644, manifest})
}

type file struct {
	name    string
	mode    int64
	content []byte
}

func writeTar(w io.Writer, files ...file) error {
	archive := tar.NewWriter(w)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: time.Unix(0, 0)}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("writing %s of an image: %w", f.name, err)
		}
		if _, err := archive.Write(f.content); err != nil {
			return fmt.Errorf("writing %s of an image: %w", f.name, err)
		}
	}
	return archive.Close()
}

// loadProgram imports a new image with one static program.
func (c cluster) loadProgram(ctx context.Context, name, program string) error {
	image, err := os.CreateTemp(c.nodeDir(), "image-*.tar")
	if err != nil {
		return fmt.Errorf("creating the image %s: %w", name, err)
	}
	defer os.Remove(image.Name())
	defer image.Close()
	if err := writeImage(image, name, program); err != nil {
		return err
	}
	return c.loadImage(ctx, image.Name())
}

// load imports images into the node. Each is a file, or of the form IMAGE=PROGRAM.
func (c cluster) load(ctx context.Context, images []string, p progress) error {
	if !c.hasNode() {
		return fmt.Errorf("cluster %q has no real node: start it with --node real", c.name)
	}
	for _, image := range images {
		err := p.step("loading "+image, func(reporter) (string, error) {
			if name, program, ok := strings.Cut(image, "="); ok {
				return "loaded " + name, c.loadProgram(ctx, name, program)
			}
			return "loaded " + image, c.loadImage(ctx, image)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// loadImage imports the images of a file, such as docker save writes, into the node's containerd.
func (c cluster) loadImage(ctx context.Context, path string) error {
	socket, err := c.containerdSocket(ctx)
	if err != nil {
		return err
	}
	_, err = packagesIn(c.bin).run(ctx, "ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", path)
	return err
}

// containerdSocket returns the path of containerd's socket, as seen outside of the node.
func (c cluster) containerdSocket(ctx context.Context) (string, error) {
	running, err := processes(ctx, c.binDir())
	if err != nil {
		return "", err
	}
	pid, ok := running["containerd"]
	if !ok {
		return "", errors.New("containerd is not running")
	}
	return fmt.Sprintf("/proc/%d/root%s", pid, containerdSocket), nil
}
