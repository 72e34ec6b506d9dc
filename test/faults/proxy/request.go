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

package proxy

import (
	"encoding/json"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	kubescheme "k8s.io/client-go/kubernetes/scheme"

	rayscheme "github.com/kubeflow/ray-operator/pkg/client/clientset/versioned/scheme"
	"github.com/kubeflow/ray-operator/test/faults/history"
)

// decoder decodes requests and responses in JSON or protobuf.
var decoder = newDecoder()

func newDecoder() runtime.Decoder {
	scheme := runtime.NewScheme()
	utilruntime.Must(kubescheme.AddToScheme(scheme))
	utilruntime.Must(rayscheme.AddToScheme(scheme))
	return serializer.NewCodecFactory(scheme).UniversalDeserializer()
}

// request is a request with its verb and object.
type request struct {
	*http.Request

	// verb is create, update, patch or delete. It is empty for a read.
	verb     string
	resource string
	name     string
	body     []byte
}

// verbs are the verbs of writes.
var verbs = map[string]string{
	http.MethodPost:   "create",
	http.MethodPut:    "update",
	http.MethodPatch:  "patch",
	http.MethodDelete: "delete",
}

// newRequest parses the path of a request, which is
// /api/v1/namespaces/NAMESPACE/RESOURCE/NAME/SUBRESOURCE, or starts with /apis/GROUP/VERSION.
func newRequest(r *http.Request, body []byte) *request {
	parsed := &request{Request: r, verb: verbs[r.Method], body: body}
	if r.URL.Query().Has("dryRun") {
		parsed.verb = "" // a dry run changes nothing
	}
	_, rest, _ := strings.Cut(r.URL.Path, "/namespaces/")
	parts := strings.Split(rest, "/")
	if len(parts) > 1 {
		parsed.resource = parts[1]
	}
	if len(parts) > 2 {
		parsed.name = parts[2]
	}
	if len(parts) > 3 {
		parsed.resource += "/" + parts[3]
	}
	return parsed
}

// isWatch reports whether the request is a watch.
func (r *request) isWatch() bool {
	watch := r.URL.Query().Get("watch")
	return watch == "true" || watch == "1"
}

// isStart reports whether the request is for the complete state, as a list or as the start of a watch.
// A list with limit 1 only checks permissions.
func (r *request) isStart() bool {
	if r.verb != "" || r.name != "" || r.URL.Query().Get("limit") == "1" {
		return false
	}
	return !r.isWatch() || r.URL.Query().Get("sendInitialEvents") == "true"
}

// isResumption reports whether the request resumes a watch. Its resourceVersion may have expired.
func (r *request) isResumption() bool {
	return r.isWatch() && !r.isStart() && r.URL.Query().Get("resourceVersion") != ""
}

// record returns the history of a write.
func (r *request) record() *history.Write {
	write := &history.Write{Verb: r.verb, Resource: r.resource, Name: r.name}
	if r.verb == "patch" {
		patch := &metav1.PartialObjectMetadata{}
		if json.Unmarshal(r.body, patch) == nil {
			write.Sent, write.Target = patch, patch.UID
		}
		return write
	}
	switch sent := decode(r.body).(type) {
	case *metav1.DeleteOptions:
		if sent.Preconditions != nil && sent.Preconditions.UID != nil {
			write.Target = *sent.Preconditions.UID
		}
	case metav1.Object:
		write.Sent, write.Name, write.Target = sent, sent.GetName(), sent.GetUID()
	}
	return write
}

// decode returns the object of a body, or nil.
func decode(body []byte) runtime.Object {
	object, _, err := decoder.Decode(body, nil, nil)
	if err != nil {
		return nil
	}
	return object
}
