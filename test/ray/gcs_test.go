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
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The states of a node that is part of the cluster, as the GCS numbers them.
const (
	nodeRunning = 1 // has tasks or actors
	nodeIdle    = 3
)

// gcsMethod returns the state of all nodes.
const gcsMethod = "/ray.rpc.autoscaler.AutoscalerStateService/GetClusterResourceState"

// rayState is Ray's own view of a cluster.
type rayState struct {
	// session is a name that each start of a GCS without storage makes up.
	session string
	nodes   []rayNode // those that are alive
}

// rayNode is a node as the GCS reports it. pod and group are set by variables of the generated start.
type rayNode struct {
	pod, group string
	address    string
	status     uint64
	resources  map[string]float64
	labels     map[string]string
}

// groups returns the number of nodes by group.
func (s *rayState) groups() map[string]int {
	groups := map[string]int{}
	for _, node := range s.nodes {
		groups[node.group]++
	}
	return groups
}

// busy returns the number of nodes that have tasks.
func (s *rayState) busy() int {
	count := 0
	for _, node := range s.nodes {
		if node.status == nodeRunning {
			count++
		}
	}
	return count
}

// gcsClient speaks HTTP/2 without TLS. It makes a connection for each request, since a connection through
// a Service stays with a head that is gone.
var gcsClient = newGCSClient()

func newGCSClient() *http.Client {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: &protocols, DisableKeepAlives: true}}
}

// readGCS asks a GCS for the nodes that are alive, with a token unless it is empty. A gRPC request is an HTTP request
// with a frame of five bytes around the message, which is empty here.
func readGCS(ctx context.Context, address, token string) (*rayState, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+gcsMethod, bytes.NewReader(make([]byte, 5)))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("TE", "trailers")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := gcsClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if status := cmp.Or(response.Trailer.Get("Grpc-Status"), response.Header.Get("Grpc-Status")); status != "0" {
		return nil, fmt.Errorf("the GCS at %s responds with the gRPC status %q", address, status)
	}
	if len(body) < 5 || int(binary.BigEndian.Uint32(body[1:])) != len(body)-5 {
		return nil, fmt.Errorf("the GCS at %s responds with an invalid frame of %d bytes", address, len(body))
	}
	return decodeReply(body[5:])
}

// decodeReply decodes a GetClusterResourceStateReply.
func decodeReply(message []byte) (*rayState, error) {
	state := &rayState{}
	err := visitFields(message, map[protowire.Number]func(field) error{
		1: func(f field) error {
			return visitFields(f.bytes, map[protowire.Number]func(field) error{
				3: func(f field) error {
					node, err := decodeNode(f.bytes)
					if node.status == nodeRunning || node.status == nodeIdle {
						state.nodes = append(state.nodes, node)
					}
					return err
				},
				7: func(f field) error { state.session = string(f.bytes); return nil },
			})
		},
	})
	return state, err
}

// decodeNode decodes a NodeState.
func decodeNode(message []byte) (rayNode, error) {
	node := rayNode{resources: map[string]float64{}, labels: map[string]string{}}
	err := visitFields(message, map[protowire.Number]func(field) error{
		2: func(f field) error { node.pod = string(f.bytes); return nil },
		3: func(f field) error { node.group = string(f.bytes); return nil },
		5: func(f field) error {
			key, value, err := decodeEntry(f.bytes)
			node.resources[key] = math.Float64frombits(value.number)
			return err
		},
		8:  func(f field) error { node.status = f.number; return nil },
		10: func(f field) error { node.address = string(f.bytes); return nil },
		13: func(f field) error {
			key, value, err := decodeEntry(f.bytes)
			node.labels[key] = string(value.bytes)
			return err
		},
	})
	return node, err
}

// decodeEntry decodes an entry of a map. An omitted value is 0 or empty.
func decodeEntry(message []byte) (key string, value field, err error) {
	err = visitFields(message, map[protowire.Number]func(field) error{
		1: func(f field) error { key = string(f.bytes); return nil },
		2: func(f field) error { value = f; return nil },
	})
	return key, value, err
}

// field is the value of a field: a number (for a double, its bits) or bytes.
type field struct {
	number uint64
	bytes  []byte
}

// visitFields calls a function for each field of a message that has one.
func visitFields(message []byte, visit map[protowire.Number]func(field) error) error {
	for len(message) > 0 {
		number, kind, length := protowire.ConsumeTag(message)
		if length < 0 {
			return protowire.ParseError(length)
		}
		message = message[length:]
		var value field
		switch kind {
		case protowire.VarintType:
			value.number, length = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			value.number, length = protowire.ConsumeFixed64(message)
		case protowire.BytesType:
			value.bytes, length = protowire.ConsumeBytes(message)
		default:
			return errors.New("unexpected type of a field")
		}
		if length < 0 {
			return protowire.ParseError(length)
		}
		message = message[length:]
		if f := visit[number]; f != nil {
			if err := f(value); err != nil {
				return err
			}
		}
	}
	return nil
}
