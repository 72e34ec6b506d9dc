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

package ray

import (
	"fmt"
	"os"
	"strings"
	"testing"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// dataset processes 60 rows, each in a second, on more than one node. Ray Data requests more CPUs every ten
// seconds, as long as it uses those it has, and only if it sees that a group can grow.
const dataset = `
import time
import ray

ray.init(logging_level="ERROR", log_to_driver=False)
ray.data.DataContext.get_current().enable_progress_bars = False

def work(batch):
    time.sleep(1)
    return {"id": batch["id"], "node": [ray.get_runtime_context().get_node_id()] * len(batch["id"])}

rows = ray.data.range(60, override_num_blocks=60).map_batches(work).take_all()
assert sorted(row["id"] for row in rows) == list(range(60)), rows
nodes = {row["node"] for row in rows}
assert len(nodes) > 1, nodes
print("done")
`

// training runs with at least two workers, and three if it can.
const training = `
import time
import ray
import ray.train
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

ray.init(logging_level="ERROR", log_to_driver=False)

def train():
    time.sleep(5)
    assert ray.train.get_context().get_world_size() > 1

DataParallelTrainer(
    train,
    scaling_config=ray.train.ScalingConfig(num_workers=(2, 3), resources_per_worker={"CPU": 1}),
    run_config=ray.train.RunConfig(name="training", storage_path="/results"),
).fit()
print("done")
`

// TestAutoscalingLibraries runs Ray Data and Ray Train, which request resources as they see that a group can grow. When
// they are done, its nodes go.
func TestAutoscalingLibraries(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	results := t.TempDir()
	if err := os.Chmod(results, 0o777); err != nil {
		t.Fatal(err)
	}
	// All nodes have the storage of Ray Train.
	u.apply("x", strings.NewReplacer("idleTimeoutSeconds: 20", "idleTimeoutSeconds: 5", "{spec: {containers: [{name: ray,", fmt.Sprintf(
		"{spec: {volumes: [{name: results, hostPath: {path: %s}}], containers: [{name: ray, env: [{name: PYTHONPATH, value: /opt/ray-libraries}], volumeMounts: [{name: results, mountPath: /results}],", results,
	)).Replace(autoscaledRay)).waitReady()
	for _, program := range []string{dataset, training} {
		if printed := u.python("x", program); !strings.Contains(printed, "done") {
			t.Errorf("the program prints %s", printed)
		}
		u.waitPods(rayv1.RoleWorker, 0)
	}
}
