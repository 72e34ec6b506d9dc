package proxy

import (
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

// decoder reads what operators send and servers answer, as JSON or as protobuf.
var decoder = newDecoder()

func newDecoder() runtime.Decoder {
	scheme := runtime.NewScheme()
	utilruntime.Must(kubescheme.AddToScheme(scheme))
	utilruntime.Must(rayscheme.AddToScheme(scheme))
	return serializer.NewCodecFactory(scheme).UniversalDeserializer()
}

// request is what a request is about.
type request struct {
	*http.Request

	// verb is create, update, patch or delete, or empty for a read.
	verb     string
	resource string
	name     string
	body     []byte
}

// verbs are those that change something.
var verbs = map[string]string{
	http.MethodPost:   "create",
	http.MethodPut:    "update",
	http.MethodPatch:  "patch",
	http.MethodDelete: "delete",
}

// newRequest reads from the path what a request is about. Paths are
// /api/v1/namespaces/NAMESPACE/RESOURCE/NAME/SUBRESOURCE, or below /apis/GROUP/VERSION.
func newRequest(r *http.Request, body []byte) *request {
	parsed := &request{Request: r, verb: verbs[r.Method], body: body}
	if r.URL.Query().Has("dryRun") {
		parsed.verb = "" // it only tries whether it may
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

// isWatch tells whether the request asks for a stream of changes.
func (r *request) isWatch() bool {
	watch := r.URL.Query().Get("watch")
	return watch == "true" || watch == "1"
}

// isStart tells whether the request asks for the state as a whole, as a list or as the
// beginning of a watch. A list of one only tries whether it may.
func (r *request) isStart() bool {
	if r.verb != "" || r.name != "" || r.URL.Query().Get("limit") == "1" {
		return false
	}
	return !r.isWatch() || r.URL.Query().Get("sendInitialEvents") == "true"
}

// isResumption tells whether the request asks for the changes since a state, which the server
// may have forgotten.
func (r *request) isResumption() bool {
	return r.isWatch() && !r.isStart() && r.URL.Query().Get("resourceVersion") != ""
}

// record returns the record of a write.
func (r *request) record() *history.Write {
	write := &history.Write{Verb: r.verb, Resource: r.resource, Name: r.name}
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

// decode returns the object of a body, nil if there is none.
func decode(body []byte) runtime.Object {
	object, _, err := decoder.Decode(body, nil, nil)
	if err != nil {
		return nil
	}
	return object
}
