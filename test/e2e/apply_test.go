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

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// generated is a manifest with what generators emit, and ports without a protocol. It has no objects with
// null inside lists: kubectl removes that null, and prints "configured" for a Deployment as well.
const generated = `
apiVersion: ray.kubeflow.org/v1
kind: Ray
metadata: {name: generated, creationTimestamp: null}
spec:
  head:
    template: &template
      metadata: {creationTimestamp: null, labels: {a: null}}
      spec:
        nodeSelector: null
        imagePullSecrets: [{name: s}, {name: s}]
        volumes: [{name: v, emptyDir: {sizeLimit: 1e9}}]
        containers:
          - name: ray
            image: rayproject/examples:1
            args: [null]
            env: [{name: A, value: "1"}, {name: A, value: "2"}, {name: C, valueFrom: {configMapKeyRef: {name: c, key: x, optional: true}}}]
            ports: [{containerPort: 6379}, {containerPort: 8265, protocol: TCP}]
            resources: {requests: {cpu: 0.5, memory: 1e9}, limits: {cpu: 1}}
            livenessProbe: {grpc: {port: 8080}}
  worker:
    replicas: null
    template: *template
`

// TestApplyTwice applies manifests twice. The second time changes nothing.
func TestApplyTwice(t *testing.T) {
	t.Parallel()
	samples, err := filepath.Glob(cluster.Path("manifests/samples/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	manifests := map[string]string{"generated": generated}
	for _, sample := range samples {
		data, err := os.ReadFile(sample)
		if err != nil {
			t.Fatal(err)
		}
		if name := filepath.Base(sample); name != "kustomization.yaml" {
			manifests[name] = string(data)
		}
	}
	const fields = `-o=jsonpath={.metadata.generation}{" "}{.metadata.managedFields[?(@.manager=="kubectl")].time}`
	for name, manifest := range manifests {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			t.Run("client-side", func(t *testing.T) {
				u.kubectlWith(manifest, "apply", "-f", "-")
				out := u.kubectlWith(manifest, "apply", "-f", "-").Stdout
				for line := range strings.Lines(out) {
					// kubectl sends the selector of a PodDisruptionBudget each time.
					if !strings.HasSuffix(line, " unchanged\n") && !strings.HasPrefix(line, "poddisruptionbudget") {
						t.Errorf("the second kubectl apply prints %q", line)
					}
				}
			})
			t.Run("server-side", func(t *testing.T) {
				u.kubectlWith(manifest, "delete", "-f", "-")
				u.kubectlWith(manifest, "apply", "--server-side", "-f", "-")
				before := u.kubectlWith(manifest, "get", "-f", "-", fields).Stdout
				u.kubectlWith(manifest, "apply", "--server-side", "-f", "-")
				if after := u.kubectlWith(manifest, "get", "-f", "-", fields).Stdout; after != before {
					t.Errorf("the second kubectl apply --server-side changes the generation and the time of the fields from %q to %q", before, after)
				}
			})
		})
	}
}
