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

package gcs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxReply is the limit, in bytes, of a reply. A node is about 1 KiB.
	maxReply = 8 << 20
	// chunk is how much of a reply is read before the buffer for it grows: a peer that announces a large reply
	// and does not send it occupies no more.
	chunk = 32 << 10
	// prefix is the length of the prefix of a message: 1 byte for compression, and 4 for the length.
	prefix = 5
)

// frame returns a message with its prefix.
func frame(message []byte) []byte {
	framed := make([]byte, prefix, prefix+len(message))
	binary.BigEndian.PutUint32(framed[1:], uint32(len(message))) //nolint:gosec // Requests are small.
	return append(framed, message...)
}

// exchange sends a request and returns the reply. answered reports whether the peer has replied: the request
// must not be sent a second time, and the connection can take more calls if there is no error of another type
// than *StatusError.
func (c *connection) exchange(ctx context.Context, target Target, method string, request []byte) (reply []byte,
	answered bool, err error,
) {
	c.metered.allow()
	response, err := c.RoundTrip(newRequest(ctx, target, method, request))
	if err != nil {
		return nil, false, transportError(ctx, err, c.metered)
	}
	defer response.Body.Close()
	if err := checkHeader(response); err != nil {
		return nil, true, err
	}
	reply, err = readMessage(response.Body)
	if failed := (*callError)(nil); errors.As(err, &failed) {
		return nil, true, err
	} else if err != nil && !errors.Is(err, io.EOF) {
		return nil, true, transportError(ctx, err, c.metered)
	}
	// The status is more important than the message, which is missing without success.
	if status := checkStatus(response); status != nil {
		return nil, true, status
	}
	if err != nil {
		return nil, true, failure(ErrProtocol, "reply without a message")
	}
	return reply, true, nil
}

// newRequest returns the HTTP request of a call.
func newRequest(ctx context.Context, target Target, method string, request []byte) *http.Request {
	body := frame(request)
	header := http.Header{
		"Content-Type": {"application/grpc"},
		"Te":           {"trailers"},
		"User-Agent":   {"ray-operator"},
	}
	if target.Token != "" {
		header["Authorization"] = []string{"Bearer " + target.Token}
	}
	return (&http.Request{
		Method:        http.MethodPost,
		URL:           &url.URL{Scheme: "http", Host: target.Address, Path: service + method},
		Header:        header,
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
	}).WithContext(ctx)
}

// checkHeader returns an error if a response is not one of gRPC.
func checkHeader(response *http.Response) error {
	if response.StatusCode != http.StatusOK {
		return failure(ErrProtocol, "HTTP status %d", response.StatusCode)
	}
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "application/grpc") {
		return failure(ErrProtocol, "reply that is not gRPC")
	}
	return nil
}

// readMessage returns the only message of a body, and reads the body to its end. It returns io.EOF if the body
// is empty.
func readMessage(body io.Reader) ([]byte, error) {
	var header [prefix]byte
	if _, err := io.ReadFull(body, header[:]); err != nil {
		return nil, err
	}
	if header[0] != 0 {
		return nil, failure(ErrProtocol, "compressed reply")
	}
	length := binary.BigEndian.Uint32(header[1:])
	if length > maxReply {
		return nil, failure(ErrLimit, "more than %d bytes", maxReply)
	}
	message, err := readExactly(body, int(length))
	if err != nil {
		return nil, err
	}
	switch _, err := io.ReadFull(body, header[:1]); {
	case errors.Is(err, io.EOF):
		return message, nil
	case err != nil:
		return nil, err
	default:
		return nil, failure(ErrProtocol, "more than one message in a reply")
	}
}

// readExactly returns a number of bytes. The buffer grows with what has been read.
func readExactly(body io.Reader, length int) ([]byte, error) {
	message := make([]byte, 0, min(length, chunk))
	for len(message) < length {
		message = slices.Grow(message, min(max(len(message), chunk), length-len(message)))
		free := message[len(message):min(cap(message), length)]
		n, err := io.ReadFull(body, free)
		message = message[:len(message)+n]
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
	return message, nil
}

// checkStatus returns the status of a response to the end of which was read, or nil if it is OK.
func checkStatus(response *http.Response) error {
	// A response without a message has the status in its header.
	status := cmp.Or(response.Trailer.Get("Grpc-Status"), response.Header.Get("Grpc-Status"))
	code, err := strconv.ParseUint(status, 10, 16)
	if err != nil {
		return failure(ErrProtocol, "reply without a valid gRPC status")
	}
	if code == 0 {
		return nil
	}
	message := cmp.Or(response.Trailer.Get("Grpc-Message"), response.Header.Get("Grpc-Message"))
	return &StatusError{Code: int(code), Message: statusMessage(message)}
}
