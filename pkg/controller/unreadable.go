package controller

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/rest"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned/scheme"
)

// annotationUnreadable marks a Ray in memory whose spec the types cannot hold, and says
// why. Nobody can set it: the API server accepts no annotation of such a name.
const annotationUnreadable = "ray.kubeflow.org/(unreadable)"

// NewRayClient returns a client that reads every Ray, also one that was stored under
// another schema and that the types cannot hold. The generated client would fail on each
// list and each watch that has such a Ray in it, and so on all Rays for the sake of one.
// Only the decoding differs: the requests are those of the generated client.
func NewRayClient(config *rest.Config) (versioned.Interface, error) {
	config = rest.CopyConfig(config)
	config.APIPath = "/apis"
	config.GroupVersion = &rayv1.SchemeGroupVersion
	config.NegotiatedSerializer = codecs
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	return versioned.New(client), nil
}

// codecs are the generated client's.
var codecs = rayCodecs{rest.CodecFactoryForGeneratedClient(scheme.Scheme, scheme.Codecs).WithoutConversion()}

// rayCodecs are codecs with which a Ray is always decoded.
type rayCodecs struct{ runtime.NegotiatedSerializer }

// DecoderToVersion returns the decoder of answers, and of the objects in a watch.
func (c rayCodecs) DecoderToVersion(decoder runtime.Decoder, gv runtime.GroupVersioner) runtime.Decoder {
	return rayDecoder{c.NegotiatedSerializer.DecoderToVersion(decoder, gv)}
}

type rayDecoder struct{ runtime.Decoder }

// Decode decodes an object. A Ray, or a list of Rays, that cannot be decoded as a whole is
// decoded in parts.
func (d rayDecoder) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	object, kind, err := d.decodeWhole(data, defaults, into)
	if err == nil || kind == nil || kind.GroupVersion() != rayv1.SchemeGroupVersion {
		return object, kind, err
	}
	switch kind.Kind {
	case "Ray":
		ray, ok := into.(*rayv1.Ray)
		if !ok {
			ray = &rayv1.Ray{}
		}
		return ray, kind, decodeParts(data, ray)
	case "RayList":
		list, ok := into.(*rayv1.RayList)
		if !ok {
			list = &rayv1.RayList{}
		}
		return list, kind, d.decodeList(data, list)
	default:
		return object, kind, err
	}
}

// decodeWhole decodes an object as the generated client does. A huge exponent in a quantity is
// an error.
func (d rayDecoder) decodeWhole(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	if defused := defuse(data); defused != nil {
		trial := into
		if trial != nil {
			trial = into.DeepCopyObject()
		}
		if object, kind, err := d.Decoder.Decode(defused, defaults, trial); err != nil {
			return object, kind, err
		}
	}
	return d.Decoder.Decode(data, defaults, into)
}

// decodeList decodes a list Ray by Ray.
func (d rayDecoder) decodeList(data []byte, list *rayv1.RayList) error {
	var parts struct {
		Metadata metav1.ListMeta   `json:"metadata"`
		Items    []json.RawMessage `json:"items"`
	}
	if err := utiljson.Unmarshal(data, &parts); err != nil {
		return fmt.Errorf("decoding a list of Rays: %w", err)
	}
	*list = rayv1.RayList{ListMeta: parts.Metadata, Items: make([]rayv1.Ray, len(parts.Items))}
	for i, item := range parts.Items {
		if _, _, err := d.Decode(item, nil, &list.Items[i]); err != nil {
			return err
		}
	}
	return nil
}

// decodeParts decodes what can be decoded of a Ray. A status that cannot is as good as
// none, since it is written anew; without its spec the Ray is marked as unreadable. Only
// the metadata must be right, which the API server sees to whatever the schema is.
func decodeParts(data []byte, ray *rayv1.Ray) error {
	var parts struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
		Spec     json.RawMessage   `json:"spec"`
		Status   json.RawMessage   `json:"status"`
	}
	if err := utiljson.Unmarshal(data, &parts); err != nil {
		return fmt.Errorf("decoding a Ray: %w", err)
	}
	*ray = rayv1.Ray{ObjectMeta: parts.Metadata}
	if utiljson.Unmarshal(parts.Status, &ray.Status) != nil {
		ray.Status = rayv1.RayStatus{}
	}
	if len(parts.Spec) == 0 {
		return nil
	}
	if err := unmarshalSpec(parts.Spec, &ray.Spec); err != nil {
		ray.Spec = rayv1.RaySpec{}
		path, err := culprit(parts.Spec, err)
		metav1.SetMetaDataAnnotation(&ray.ObjectMeta, annotationUnreadable, fmt.Sprintf("the operator cannot read spec%s: %v", path, err))
	}
	return nil
}

// culprit returns where in a spec the first thing is that cannot be decoded, and its
// error. That of the whole spec is often another one, and does not always say where.
func culprit(spec []byte, err error) (string, error) {
	decoder := json.NewDecoder(bytes.NewReader(spec))
	decoder.UseNumber()
	var tree any
	if decoder.Decode(&tree) != nil {
		return "", err
	}
	return culpritIn(tree, err, func(value any) error {
		data, err := json.Marshal(value)
		if err != nil {
			return err
		}
		return unmarshalSpec(data, &rayv1.RaySpec{})
	})
}

// culpritIn is culprit for a value within a spec that is decoded with an error. Decode
// decodes the spec with another value in its place, and nothing beside it.
func culpritIn(value any, err error, decode func(any) error) (string, error) {
	switch value := value.(type) {
	case map[string]any:
		if decode(map[string]any{}) != nil {
			break // there must be no object here at all
		}
		for _, key := range slices.Sorted(maps.Keys(value)) {
			within := func(part any) error { return decode(map[string]any{key: part}) }
			if err := within(value[key]); err != nil {
				path, err := culpritIn(value[key], err, within)
				return "." + key + path, err
			}
		}
	case []any:
		if decode([]any{}) != nil {
			break
		}
		for i, item := range value {
			within := func(part any) error { return decode([]any{part}) }
			if err := within(item); err != nil {
				path, err := culpritIn(item, err, within)
				return fmt.Sprintf("[%d]%s", i, path), err
			}
		}
	}
	return "", err
}
