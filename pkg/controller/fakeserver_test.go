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

package controller

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	"github.com/kubeflow/ray-operator/pkg/rayclient"
)

// fakeServer is an in-memory API server. It has resourceVersions, UIDs, generations, conflicts and
// preconditions, since the controller depends on them. Real clientsets send it requests, so that objects
// are also encoded and decoded.
type fakeServer struct {
	// admit changes an object before it is stored, as a mutating webhook does.
	admit func(object)
	// prune removes the fields of a Ray's status that are not in the schema.
	prune func(*rayv1.RayStatus)
	// reject returns the error with which a write fails, if it is to. It gets the write as
	// it is recorded in writes.
	reject func(write string) *apierrors.StatusError
	// corrupt changes a Ray in responses so that it cannot be decoded.
	corrupt func(ray map[string]any)
	// onWrite is called after each write by a client that was not rejected by reject.
	onWrite func(fakeWrite)

	mu       sync.Mutex
	objects  map[objectID]object
	pods     []corev1.Pod
	revision int64
	// history has all watch events.
	history []watchEvent
	// writes and reads are the requests of the clients, such as "update rays/status sample-cluster".
	writes, reads []string
}

type objectID struct{ resource, namespace, name string }

func (id objectID) String() string { return id.resource + "/" + id.name }

type watchEvent struct {
	resource string
	// object is the new state, or the last one of a deleted object.
	object  object
	deleted bool
}

// fakeWrite is a write by a client, and its result.
type fakeWrite struct {
	verb, subresource string
	id                objectID
	// uid and resourceVersion are those that the client sent.
	uid             types.UID
	resourceVersion string
	// before and after are the stored object before and after the write, nil if there is none. They are
	// the same if the write failed or changed nothing.
	before, after object
}

// serverTime is the creation time of all objects.
var serverTime = metav1.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)

func newFakeServer() *fakeServer {
	return &fakeServer{objects: map[objectID]object{}, revision: 100}
}

// clients returns clientsets that send their requests to the server.
func (s *fakeServer) clients(t testing.TB) (kubernetes.Interface, versioned.Interface) {
	t.Helper()
	config := &rest.Config{Host: "http://fake", Transport: s, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeJSON}}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	ray, err := rayclient.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return kube, ray
}

// RoundTrip implements http.RoundTripper.
func (s *fakeServer) RoundTrip(r *http.Request) (*http.Response, error) {
	result, failure := s.serve(r)
	return respond(s.encode(result), failure)
}

// respond returns an HTTP response with a body, or with a failure.
func respond(body []byte, failure *apierrors.StatusError) (*http.Response, error) {
	response := httptest.NewRecorder()
	response.Header().Set("Content-Type", runtime.ContentTypeJSON)
	if failure != nil {
		failure.ErrStatus.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		response.WriteHeader(int(failure.ErrStatus.Code))
		body = mustEncode(&failure.ErrStatus)
	}
	if _, err := response.Write(body); err != nil {
		return nil, fmt.Errorf("writing a response: %w", err)
	}
	return response.Result(), nil
}

// encode returns an object as the server sends it.
func (s *fakeServer) encode(o runtime.Object) []byte {
	if ray, ok := o.(*rayv1.Ray); ok && s.corrupt != nil {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(ray)
		if err != nil {
			panic(err)
		}
		s.corrupt(content)
		return mustEncode(content)
	}
	return mustEncode(o)
}

func mustEncode(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return data
}

// serve handles a request for /…/namespaces/NAMESPACE/RESOURCE[/NAME[/SUBRESOURCE]].
func (s *fakeServer) serve(r *http.Request) (runtime.Object, *apierrors.StatusError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, path, _ := strings.Cut(r.URL.Path, "/namespaces/")
	parts := append(strings.Split(path, "/"), "", "")
	id, subresource := objectID{resource: parts[1], namespace: parts[0], name: parts[2]}, parts[3]

	switch {
	case r.Method == http.MethodGet && id.name == "":
		return s.listPods(id, r.URL.Query().Get("labelSelector"))
	case r.Method == http.MethodGet:
		return s.get(id)
	}
	options, body := &metav1.DeleteOptions{}, newObject(id.resource)
	var into any = body
	if r.Method == http.MethodDelete {
		into = options
	}
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	body.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	if r.Method == http.MethodPost {
		id.name = body.GetName()
	}
	if dryRun := r.URL.Query().Get("dryRun"); dryRun == metav1.DryRunAll {
		return s.dryRun(id, body)
	}
	if err := s.record(verbs[r.Method], id, subresource); err != nil {
		return nil, err
	}
	write := fakeWrite{verb: verbs[r.Method], subresource: subresource, id: id, uid: body.GetUID(), resourceVersion: body.GetResourceVersion(), before: s.objects[id]}
	if p := options.Preconditions; p != nil && p.UID != nil {
		write.uid = *p.UID
	}
	result, failure := s.write(id, body, subresource, r.Method, options)
	if s.onWrite != nil {
		write.after = s.objects[id]
		s.onWrite(write)
	}
	return result, failure
}

var verbs = map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodDelete: "delete"}

func (s *fakeServer) write(id objectID, body object, subresource, method string, options *metav1.DeleteOptions) (runtime.Object, *apierrors.StatusError) {
	switch method {
	case http.MethodPost:
		return s.create(id, body)
	case http.MethodPut:
		return s.update(id, body, subresource)
	default:
		return s.delete(id, options)
	}
}

// record records a write, and returns the error with which it is refused, if it is.
func (s *fakeServer) record(verb string, id objectID, subresource string) *apierrors.StatusError {
	resource := id.resource
	if subresource != "" {
		resource += "/" + subresource
	}
	write := verb + " " + resource + " " + id.name
	s.writes = append(s.writes, write)
	if s.reject == nil {
		return nil
	}
	return s.reject(write)
}

func (s *fakeServer) get(id objectID) (runtime.Object, *apierrors.StatusError) {
	s.reads = append(s.reads, "get "+id.resource+" "+id.name)
	found, exists := s.objects[id]
	if !exists {
		return nil, notFound(id)
	}
	return found, nil
}

// listPods returns the Pods with the labels of a selector.
func (s *fakeServer) listPods(id objectID, selector string) (runtime.Object, *apierrors.StatusError) {
	s.reads = append(s.reads, "list "+id.resource+" "+selector)
	parsed, err := labels.Parse(selector)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	list := &corev1.PodList{}
	for _, pod := range s.pods {
		if pod.Namespace == id.namespace && parsed.Matches(labels.Set(pod.Labels)) {
			list.Items = append(list.Items, pod)
		}
	}
	return list, nil
}

// dryRun answers an update without storing it.
func (s *fakeServer) dryRun(id objectID, next object) (runtime.Object, *apierrors.StatusError) {
	if err := s.record("dry-run", id, ""); err != nil {
		return nil, err
	}
	old, exists := s.objects[id]
	switch {
	case !exists:
		return nil, notFound(id)
	case next.GetResourceVersion() != old.GetResourceVersion():
		return nil, conflict(id, "the object has been modified")
	}
	s.complete(next)
	return next, nil
}

func (s *fakeServer) create(id objectID, next object) (runtime.Object, *apierrors.StatusError) {
	if _, exists := s.objects[id]; exists {
		return nil, apierrors.NewAlreadyExists(groupResource(id), id.name)
	}
	if next.GetResourceVersion() != "" {
		return nil, apierrors.NewBadRequest("resourceVersion should not be set on objects to be created")
	}
	next.SetUID(types.UID(fmt.Sprintf("uid-%d", s.revision+1)))
	next.SetCreationTimestamp(serverTime)
	field(next, "Status").SetZero()
	s.complete(next)
	if id.resource != serviceResource {
		next.SetGeneration(1)
	}
	return s.store(id, next), nil
}

func (s *fakeServer) update(id objectID, next object, subresource string) (runtime.Object, *apierrors.StatusError) {
	old, exists := s.objects[id]
	switch {
	case !exists:
		return nil, notFound(id)
	case next.GetUID() != "" && next.GetUID() != old.GetUID():
		return nil, conflict(id, "the UID differs")
	case next.GetResourceVersion() != old.GetResourceVersion():
		return nil, conflict(id, "the object has been modified")
	case !equality.Semantic.DeepEqual(selector(next), selector(old)):
		return nil, apierrors.NewInvalid(schema.GroupKind{Kind: id.resource}, id.name, nil)
	}
	if subresource == "status" {
		next = withStatus(old, next)
		if ray, ok := next.(*rayv1.Ray); ok && s.prune != nil {
			s.prune(&ray.Status)
		}
	} else {
		field(next, "Status").Set(field(old, "Status"))
		s.complete(next)
	}
	next.SetUID(old.GetUID())
	next.SetCreationTimestamp(old.GetCreationTimestamp())
	next.SetDeletionTimestamp(old.GetDeletionTimestamp())
	next.SetGeneration(old.GetGeneration())
	if equality.Semantic.DeepEqual(old, next) {
		return old, nil
	}
	if subresource == "" && incrementsGeneration(old, next) {
		next.SetGeneration(old.GetGeneration() + 1)
	}
	if next.GetDeletionTimestamp() != nil && len(next.GetFinalizers()) == 0 {
		return s.remove(id, next), nil
	}
	return s.store(id, next), nil
}

func (s *fakeServer) delete(id objectID, options *metav1.DeleteOptions) (runtime.Object, *apierrors.StatusError) {
	old, exists := s.objects[id]
	if !exists {
		return nil, notFound(id)
	}
	if p := options.Preconditions; p != nil {
		if p.UID != nil && *p.UID != old.GetUID() || p.ResourceVersion != nil && *p.ResourceVersion != old.GetResourceVersion() {
			return nil, conflict(id, "a precondition of the deletion failed")
		}
	}
	next := clone(old)
	if finalizer := finalizerOf(options); finalizer != "" && old.GetDeletionTimestamp() == nil {
		next.SetFinalizers(append(next.GetFinalizers(), finalizer))
	}
	if len(next.GetFinalizers()) == 0 {
		return s.remove(id, next), nil
	}
	if old.GetDeletionTimestamp() == nil {
		next.SetDeletionTimestamp(&serverTime)
		if next.GetGeneration() > 0 {
			next.SetGeneration(next.GetGeneration() + 1)
		}
		return s.store(id, next), nil
	}
	return old, nil
}

// finalizerOf returns the finalizer of the garbage collector that a deletion with these options adds, or
// "" if dependents are deleted in the background.
func finalizerOf(options *metav1.DeleteOptions) string {
	switch policy := options.PropagationPolicy; {
	case policy != nil && *policy == metav1.DeletePropagationForeground:
		return metav1.FinalizerDeleteDependents
	case policy != nil && *policy == metav1.DeletePropagationOrphan:
		return metav1.FinalizerOrphanDependents
	default:
		return ""
	}
}
