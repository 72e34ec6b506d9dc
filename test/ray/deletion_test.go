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
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// checkDeletion deletes a Ray, and checks that its Pods and all their processes are gone soon.
func checkDeletion(u *user, o *observer) {
	u.Helper()
	list, err := cluster.Kube.CoreV1().Pods(u.namespace).List(u.Context(), metav1.ListOptions{})
	if err != nil {
		u.Fatal(err)
	}
	if len(list.Items) != desiredNodes(o.observation().ray) {
		u.Errorf("there are %d Pods", len(list.Items))
	}
	for i := range list.Items {
		if len(podProcesses(u, &list.Items[i])) == 0 {
			u.Errorf("no process of Pod %s found", list.Items[i].Name)
		}
	}
	start := time.Now()
	u.kubectl("delete", "ray", o.name)
	harness.Eventually(u, "all Pods are gone", func() error {
		rest, err := cluster.Kube.CoreV1().Pods(u.namespace).List(u.Context(), metav1.ListOptions{})
		if err == nil && len(rest.Items) > 0 {
			err = fmt.Errorf("%d Pods are left", len(rest.Items))
		}
		return err
	})
	measured(u, "deleted, until all Pods are gone", time.Since(start), 10*time.Second)
	for i := range list.Items {
		for _, process := range podProcesses(u, &list.Items[i]) {
			u.Errorf("Pod %s is gone, but its process %d is not: %v", list.Items[i].Name, process.pid, process.command)
		}
	}
}
