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
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubescheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	rayscheme "github.com/kubeflow/ray-operator/pkg/client/clientset/versioned/scheme"
	"github.com/kubeflow/ray-operator/test/faults/history"
)

// etcd is a client of the API server's etcd. It uses the JSON gateway.
type etcd struct{ url string }

// findEtcd returns the etcd of a cluster that hack/cluster started.
func findEtcd(dir, name string) (*etcd, error) {
	data, err := os.ReadFile(filepath.Join(dir, "clusters", name, "kwok.yaml"))
	if err != nil {
		return nil, err
	}
	var config struct{ Options struct{ EtcdPort int } }
	if err := yaml.Unmarshal(data, &config); err != nil {
		return nil, err
	}
	return &etcd{url: fmt.Sprintf("http://127.0.0.1:%d", config.Options.EtcdPort)}, nil
}

// post sends a request. The caller closes the body of the response.
func (e *etcd) post(ctx context.Context, path string, request any) (*http.Response, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	sent, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(sent)
}

// call sends a request and decodes the response.
func (e *etcd) call(ctx context.Context, path string, request, response any) error {
	received, err := e.post(ctx, path, request)
	if err != nil {
		return err
	}
	defer received.Body.Close()
	if received.StatusCode != http.StatusOK {
		var failure struct{ Message string }
		_ = json.NewDecoder(received.Body).Decode(&failure) // the path and the code are sufficient
		return fmt.Errorf("etcd: %s: %s: %s", path, received.Status, failure.Message)
	}
	return json.NewDecoder(received.Body).Decode(response)
}

// storeStatus is the status of etcd.
type storeStatus struct {
	Header struct {
		Member   string `json:"member_id"`
		Revision int64  `json:",string"`
	}
	Size  int64 `json:"dbSize,string"`
	Quota int64 `json:"dbSizeQuota,string"`
}

func (e *etcd) status(ctx context.Context) (*storeStatus, error) {
	status := &storeStatus{}
	return status, e.call(ctx, "/v3/maintenance/status", struct{}{}, status)
}

// compact removes all revisions except the newest.
func (e *etcd) compact(ctx context.Context) error {
	status, err := e.status(ctx)
	if err != nil {
		return err
	}
	request := map[string]any{"revision": strconv.FormatInt(status.Header.Revision, 10), "physical": true}
	return e.call(ctx, "/v3/kv/compaction", request, &struct{}{})
}

// errFull means that etcd rejected a write because it is full.
var errFull = errors.New("etcd is full")

// commitInterval is the maximum delay until etcd's size includes a write: twice its
// --backend-batch-interval.
const commitInterval = 200 * time.Millisecond

// fillUntil writes until etcd has a size. It returns errFull if etcd is full before that.
func (e *etcd) fillUntil(ctx context.Context, size int64) error {
	for {
		status, err := e.status(ctx)
		if err != nil || status.Size >= size {
			return err
		}
		// Half of the difference does not overshoot, although the size may lag.
		for range max(1, (size-status.Size)/ballast/2) {
			if err := e.write(ctx); err != nil {
				return err
			}
		}
		time.Sleep(commitInterval)
	}
}

// fill writes until etcd is full.
func (e *etcd) fill(ctx context.Context) error {
	for {
		err := e.write(ctx)
		if errors.Is(err, errFull) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

const ballast = 1 << 20 // bytes; a request is limited to 1.5 MiB

// write stores ballast. It returns errFull if etcd is full.
func (e *etcd) write(ctx context.Context) error {
	err := e.call(ctx, "/v3/kv/put", map[string]any{"key": []byte("/ballast"), "value": make([]byte, ballast)}, &struct{}{})
	if err != nil && strings.Contains(err.Error(), "database space exceeded") {
		return errFull
	}
	return err
}

// free compacts and defragments etcd as an administrator would, and disarms the alarm.
func (e *etcd) free(ctx context.Context) error {
	if err := e.compact(ctx); err != nil {
		return err
	}
	if err := e.call(ctx, "/v3/maintenance/defragment", struct{}{}, &struct{}{}); err != nil {
		return err
	}
	status, err := e.status(ctx)
	if err != nil {
		return err
	}
	disarm := map[string]any{"action": "DEACTIVATE", "alarm": "NOSPACE", "memberID": status.Header.Member}
	return e.call(ctx, "/v3/maintenance/alarm", disarm, &struct{}{})
}

// stored has the key prefix and the decoder of the objects of a resource in etcd.
var stored = map[string]struct {
	prefix  string
	decoder runtime.Decoder
}{
	history.Rays:        {"/registry/ray.kubeflow.org/rays/", rayscheme.Codecs.UniversalDeserializer()},
	history.Services:    {"/registry/services/specs/", kubescheme.Codecs.UniversalDeserializer()},
	history.Deployments: {"/registry/deployments/", kubescheme.Codecs.UniversalDeserializer()},
}

// record records every version of the objects in a namespace until the test ends. Unlike a watch
// of the API server, a watch of etcd can be resumed after an outage, so the history has no gap.
func (e *etcd) record(t *testing.T, namespace string) *recorder {
	t.Helper()
	status, err := e.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{changed: make(chan struct{}, 1)}
	for resource := range stored {
		go func() {
			from := status.Header.Revision + 1
			for t.Context().Err() == nil && r.failure() == nil {
				from = e.follow(t.Context(), r, resource, namespace, from)
				time.Sleep(20 * time.Millisecond)
			}
		}()
	}
	return r
}

// storeEvents is a message of a watch.
type storeEvents struct {
	Result struct {
		Canceled     bool
		CancelReason string `json:"cancel_reason"`
		Events       []storeEvent
	}
}

type storeEvent struct {
	Type     string
	KV       keyValue
	Previous keyValue `json:"prev_kv"`
}

type keyValue struct {
	Revision int64 `json:"mod_revision,string"`
	Value    []byte
}

// follow records from a revision on. When the watch ends, it returns the revision to resume from.
func (e *etcd) follow(ctx context.Context, r *recorder, resource, namespace string, from int64) int64 {
	prefix := stored[resource].prefix + namespace
	response, err := e.post(ctx, "/v3/watch", map[string]any{"create_request": map[string]any{
		"key": []byte(prefix + "/"), "range_end": []byte(prefix + "0"), // the character after '/'
		"start_revision": strconv.FormatInt(from, 10), "prev_kv": true,
	}})
	if err != nil {
		return from
	}
	defer response.Body.Close()
	for messages := json.NewDecoder(response.Body); ; {
		var message storeEvents
		if err := messages.Decode(&message); err != nil {
			return from
		}
		if message.Result.Canceled {
			r.fail(fmt.Errorf("the history of %s has a gap: %s", resource, message.Result.CancelReason))
			return from
		}
		for i := range message.Result.Events {
			version, err := message.Result.Events[i].version(resource)
			if err != nil {
				r.fail(err)
				return from
			}
			r.add(version)
			from = message.Result.Events[i].KV.Revision + 1
		}
	}
}

// version returns the version that a watch of the API server would return.
func (e *storeEvent) version(resource string) (history.Version, error) {
	version := history.Version{Resource: resource, Deleted: e.Type == "DELETE"}
	value := e.KV.Value
	if version.Deleted {
		value = e.Previous.Value
	}
	decoded, _, err := stored[resource].decoder.Decode(value, nil, nil)
	if err != nil {
		return version, fmt.Errorf("decoding an object of %s from etcd: %w", resource, err)
	}
	object, ok := decoded.(metav1.Object)
	if !ok {
		return version, fmt.Errorf("an object of %s in etcd is a %T", resource, decoded)
	}
	object.SetResourceVersion(strconv.FormatInt(e.KV.Revision, 10))
	version.Object = object
	return version, nil
}
