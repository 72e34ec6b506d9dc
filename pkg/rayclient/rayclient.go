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

// Package rayclient has a client for Rays that tolerates Rays it cannot decode.
//
// A Ray may have been stored under another schema than today's, with a spec that the Go types cannot
// hold. The generated client fails on every list and watch that contains such a Ray, and so one Ray
// would stop the operator from reconciling all others.
package rayclient

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

// annotationUndecodable marks, in memory, a Ray with a spec that cannot be decoded. Its value is the
// reason. The API server rejects an annotation with such a name, so no client can set it.
const annotationUndecodable = "ray.kubeflow.org/(undecodable)"

// Undecodable returns why the spec of a Ray could not be decoded, and whether that is so. The spec of
// such a Ray is empty.
func Undecodable(ray *rayv1.Ray) (reason string, undecodable bool) {
	reason, undecodable = ray.Annotations[annotationUndecodable]
	return reason, undecodable
}

// RemoveMark removes the mark of a Ray that could not be decoded, before the Ray is sent to the API
// server.
func RemoveMark(ray *rayv1.Ray) { delete(ray.Annotations, annotationUndecodable) }

// New returns a client that decodes every Ray. Its requests are those of the generated client; only
// the decoding of responses differs.
func New(config *rest.Config) (versioned.Interface, error) {
	config = rest.CopyConfig(config)
	config.APIPath = "/apis"
	config.GroupVersion = &rayv1.SchemeGroupVersion
	config.NegotiatedSerializer = Codecs
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("creating a client for Rays: %w", err)
	}
	return versioned.New(client), nil
}

// Codecs decode every Ray. Otherwise they are those of the generated client.
var Codecs runtime.NegotiatedSerializer = rayCodecs{rest.CodecFactoryForGeneratedClient(scheme.Scheme, scheme.Codecs).WithoutConversion()}

// rayCodecs are codecs that decode every Ray.
type rayCodecs struct{ runtime.NegotiatedSerializer }

// DecoderToVersion returns the decoder of responses and of the objects in a watch.
func (c rayCodecs) DecoderToVersion(decoder runtime.Decoder, gv runtime.GroupVersioner) runtime.Decoder {
	return rayDecoder{c.NegotiatedSerializer.DecoderToVersion(decoder, gv)}
}

type rayDecoder struct{ runtime.Decoder }

// Decode decodes an object. A Ray or a list of Rays that cannot be decoded as a whole is decoded in
// parts.
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

// decodeWhole decodes an object as the generated client does, but a huge exponent in a quantity is an
// error.
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

// decodeList decodes a list of Rays one by one.
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

// decodeParts decodes those parts of a Ray that can be decoded. A status that cannot is dropped, since
// the operator writes a new one. If the spec cannot, the Ray is marked. Metadata can always be
// decoded: the API server validates it under every schema.
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
		metav1.SetMetaDataAnnotation(&ray.ObjectMeta, annotationUndecodable, fmt.Sprintf("spec%s cannot be decoded: %v", path, err))
	}
	return nil
}

// culprit returns the path of the first field in a spec that cannot be decoded, and its error. The
// error of the whole spec often lacks the path.
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

// culpritIn is culprit for a value in a spec. The function decode decodes a spec that has only the
// given value, in the place of the original one.
func culpritIn(value any, err error, decode func(any) error) (string, error) {
	switch value := value.(type) {
	case map[string]any:
		if decode(map[string]any{}) != nil {
			break // the field is not an object
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
