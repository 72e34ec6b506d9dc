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

package faults

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// validSpec is a valid spec without Pods.
var validSpec = newSpec(headReplicas(0), workers(0))

// junk are the values that replace valid ones.
var junk = []func(*rand.Rand) any{
	func(*rand.Rand) any { return nil },
	func(*rand.Rand) any { return true },
	func(*rand.Rand) any { return "two" },
	func(*rand.Rand) any { return "" },
	func(*rand.Rand) any { return -1 },
	func(*rand.Rand) any { return 1.5 },
	func(*rand.Rand) any { return json.Number("9223372036854775807") },
	func(*rand.Rand) any { return 1e300 },
	func(*rand.Rand) any { return []any{} },
	func(*rand.Rand) any { return []any{map[string]any{}, nil, "x"} },
	func(*rand.Rand) any { return map[string]any{} },
	func(*rand.Rand) any { return map[string]any{"": nil, "ключ": []any{1}} },
	func(*rand.Rand) any { return "café \u0000 😀 \u202e" },
	func(r *rand.Rand) any { return strings.Repeat("long ", 1000+r.IntN(10000)) },
	func(r *rand.Rand) any { return nested(10 + r.IntN(90)) },
	func(*rand.Rand) any { return "25h61m" },
	func(*rand.Rand) any { return "12Qi" },
}

// nested returns nested lists.
func nested(depth int) any {
	var value any = "bottom"
	for range depth {
		value = []any{value}
	}
	return value
}

// newMalformed returns the malformed Ray with a number: a valid Ray with one to three corruptions.
// Every fourth also has a corrupted status.
func newMalformed(number int) *malformedRay {
	r := rand.New(rand.NewPCG(*seed, uint64(number)))
	m := &malformedRay{name: fmt.Sprintf("r%03d", number), content: map[string]any{"spec": tree(largeSpec)}}
	for range 1 + r.IntN(3) {
		m.content["spec"] = corrupt(r, m.content["spec"])
	}
	if number%4 == 0 {
		m.content["status"] = corrupt(r, tree(validStatus))
	}
	return m
}

// corrupt returns a tree in which one part, at any depth, is replaced, missing, duplicated or added.
func corrupt(r *rand.Rand, value any) any {
	if r.IntN(8) > 0 {
		switch value := value.(type) {
		case map[string]any:
			if len(value) > 0 {
				return corruptObject(r, value)
			}
		case []any:
			if len(value) > 0 {
				i := r.IntN(len(value))
				if r.IntN(8) == 0 {
					return append(slices.Clone(value), value[i]) // duplicate
				}
				value[i] = corrupt(r, value[i])
				return value
			}
		}
	}
	return junk[r.IntN(len(junk))](r)
}

func corruptObject(r *rand.Rand, value map[string]any) any {
	keys := slices.Sorted(maps.Keys(value))
	key := keys[r.IntN(len(keys))]
	switch r.IntN(12) {
	case 0:
		delete(value, key)
	case 1:
		value["extra"] = junk[r.IntN(len(junk))](r)
	default:
		value[key] = corrupt(r, value[key])
	}
	return value
}

// tree decodes JSON.
func tree(text string) any {
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		panic(err)
	}
	return value
}

// largeSpec has no gcs: it is immutable, so a Ray with an invalid one cannot be corrected.
const largeSpec = `{
  "authentication": {"tokenSecretKeyRef": {"name": "token", "key": "token"}},
  "headService": {"type": "NodePort", "publishNotReadyAddresses": true, "annotations": {"example.com/a": "b"}, "labels": {"team": "a"}},
  "head": {"replicas": 0, "template": {
    "metadata": {"labels": {"team": "a"}, "annotations": {"b": "c"}, "creationTimestamp": "2026-01-02T03:04:05Z"},
    "spec": {"containers": [{
      "name": "head", "image": "rayproject/ray:1", "args": ["start", "--head"], "env": [{"name": "A", "value": "1"}],
      "ports": [{"name": "gcs", "containerPort": 6379, "protocol": "TCP"}],
      "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": 1}},
      "livenessProbe": {"httpGet": {"port": "gcs", "path": "/"}, "periodSeconds": 10}
    }], "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}], "terminationGracePeriodSeconds": 0, "nodeSelector": {"a": "b"}}}},
  "worker": {"replicas": 0, "strategy": {"maxSurge": "10%", "maxUnavailable": 1},
    "autoscaling": {"minReplicas": 0, "maxReplicas": 3, "idleTimeoutSeconds": 5}, "template": {"spec": {"containers": [
    {"name": "worker", "image": "rayproject/ray:1", "resources": {"requests": {"cpu": "1"}}, "securityContext": {"runAsUser": 1}},
    {"name": "sidecar", "image": "x", "readinessProbe": {"tcpSocket": {"port": 80}}}
  ], "tolerations": [{"key": "k", "operator": "Exists", "tolerationSeconds": 5, "effect": "NoExecute"}]}}},
  "workerGroups": [{"name": "gpu", "replicas": 0, "template": {"spec": {"containers": [{"name": "worker", "image": "rayproject/ray:1", "command": ["ray"]}]}}}],
  "suspend": true
}`

const validStatus = `{
  "observedGeneration": 1, "startTime": "2026-01-02T03:04:05Z", "lastReconcileTime": "2026-01-02T03:04:05Z",
  "head": {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1},
  "worker": {"replicas": 1, "desiredReplicas": 1, "selector": "a=b"},
  "workerGroups": [{"name": "gpu", "replicas": 1}], "desiredWorkerReplicas": 2, "readyWorkerReplicas": 1,
  "endpoints": {"gcs": "sample-head.default.svc:6379"},
  "conditions": [{"type": "Health", "status": "True", "reason": "AllReplicasAvailable", "lastUpdateTime": "2026-01-02T03:04:05Z"}]
}`
