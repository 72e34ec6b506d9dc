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
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxPodListBytes is the size limit of a list of Pods. A client that may create Pods in one namespace must
// not exhaust the memory of the operator: Pods can have a megabyte each, and the API server ignores a limit of
// their number when it answers from its cache. An ordinary Pod takes less than 10 KiB.
const maxPodListBytes = 16 << 20

// limitPodLists fails lists of Pods that exceed maxPodListBytes, before they are decoded.
func limitPodLists(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(request)
		if err == nil && request.Method == http.MethodGet && strings.HasSuffix(request.URL.Path, "/pods") {
			response.Body = &limitedBody{ReadCloser: response.Body, remaining: maxPodListBytes}
		}
		return response, err
	})
}

// limitedBody is a response body that fails after a number of bytes.
type limitedBody struct {
	io.ReadCloser
	remaining int64
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.remaining -= int64(n); b.remaining < 0 {
		return 0, fmt.Errorf("the list of Pods exceeds %d bytes", maxPodListBytes)
	}
	return n, err
}
