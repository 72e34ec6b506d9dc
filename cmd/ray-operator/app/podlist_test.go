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

package app

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestLimitPodLists has lists of one Pod with an annotation. Only Pods are limited: the size of other
// lists is that of what the operator has to cache.
func TestLimitPodLists(t *testing.T) {
	var size int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, err := w.Write([]byte(`{"items":[{"metadata":{"annotations":{"a":"` + strings.Repeat("x", size) + `"}}}]}`))
		if err != nil {
			t.Logf("writing the response: %v", err) // the client has closed the connection
		}
	}))
	defer server.Close()
	config := &rest.Config{Host: server.URL}
	config.Wrap(limitPodLists)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, size = range []int{1000, maxPodListBytes - 1000, maxPodListBytes} {
		_, err := client.CoreV1().Pods("a").List(t.Context(), metav1.ListOptions{})
		if fits := size < maxPodListBytes; fits != (err == nil) {
			t.Errorf("a list of Pods with %d bytes gave the error %v", size, err)
		}
		if err != nil && !strings.Contains(err.Error(), "the list of Pods exceeds") {
			t.Errorf("the error does not say that the list is too long: %v", err)
		}
		if _, err := client.CoreV1().Services("a").List(t.Context(), metav1.ListOptions{}); err != nil {
			t.Errorf("a list of Services with %d bytes failed: %v", size, err)
		}
	}
}
