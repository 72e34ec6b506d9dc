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

// Package audit reads requests from the audit log of an API server.
package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"time"
)

// Request is a completed request.
type Request struct {
	Verb string `json:"verb"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	UserAgent string `json:"userAgent"`
	// URI is the path with the query.
	URI string `json:"requestURI"`
	// ObjectRef is nil for requests without an object, such as for /version.
	ObjectRef      *Object `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	// Answered is when the response was complete.
	Answered time.Time `json:"stageTimestamp"`
}

// Object is the object of a request. A list or a watch has no name.
type Object struct {
	Resource, Subresource, Namespace, Name string
}

// Resource returns the resource and subresource, such as "rays/status", or "".
func (r *Request) Resource() string {
	switch {
	case r.ObjectRef == nil:
		return ""
	case r.ObjectRef.Subresource == "":
		return r.ObjectRef.Resource
	default:
		return r.ObjectRef.Resource + "/" + r.ObjectRef.Subresource
	}
}

// IsWrite returns whether the request is a write and not a dry run.
func (r *Request) IsWrite() bool {
	return r.ObjectRef != nil && !r.IsDryRun() && slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, r.Verb)
}

// IsDryRun returns whether the request is a dry run.
func (r *Request) IsDryRun() bool { return strings.Contains(r.URI, "dryRun=All") }

// Committed returns whether the request succeeded.
func (r *Request) Committed() bool {
	return r.ResponseStatus.Code >= 200 && r.ResponseStatus.Code < 300
}

// String describes the request, such as "update rays/status y/x: 200". The name of an object that
// is created is often missing.
func (r *Request) String() string {
	if r.ObjectRef == nil {
		return fmt.Sprintf("%s: %d", r.Verb, r.ResponseStatus.Code)
	}
	return fmt.Sprintf("%s %s %s/%s: %d", r.Verb, r.Resource(), r.ObjectRef.Namespace, r.ObjectRef.Name, r.ResponseStatus.Code)
}

// Mark is the position of the start of a line in an audit log.
type Mark int64

// End returns the current end of an audit log. An incomplete line is after it.
func End(path string) (Mark, error) {
	mark, err := end(path)
	if err != nil {
		return 0, fmt.Errorf("finding the end of the audit log: %w", err)
	}
	return mark, nil
}

func end(path string) (Mark, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size()
	tail := make([]byte, min(size, maxLine))
	if _, err := file.ReadAt(tail, size-int64(len(tail))); err != nil {
		return 0, err
	}
	incomplete := len(tail) - 1 - bytes.LastIndexByte(tail, '\n')
	return Mark(size - int64(incomplete)), nil
}

// maxLine is the maximum length of a line. With the audit policy of hack/cluster, lines do not
// include objects and have about 2 kB.
const maxLine = 1 << 20

// Since returns the requests after a mark of clients with a user agent that starts with agent. It
// stops at the first error. An incomplete line is not read.
func Since(path string, mark Mark, agent string) iter.Seq2[*Request, error] {
	return func(yield func(*Request, error) bool) {
		file, err := os.Open(path)
		if err == nil {
			defer file.Close()
			_, err = file.Seek(int64(mark), io.SeekStart)
		}
		if err != nil {
			yield(nil, fmt.Errorf("reading the audit log: %w", err))
			return
		}
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, maxLine)
		lines.Split(scanCompleteLines)
		for lines.Scan() {
			// Decoding is slow, and most requests are of other clients.
			if !strings.Contains(lines.Text(), `"`+agent) {
				continue
			}
			request := &Request{}
			if err := json.Unmarshal(lines.Bytes(), request); err != nil {
				yield(nil, fmt.Errorf("reading the audit log: %w", err))
				return
			}
			if strings.HasPrefix(request.UserAgent, agent) && !yield(request, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, fmt.Errorf("reading the audit log: %w", err))
		}
	}
}

// scanCompleteLines is bufio.ScanLines without an incomplete last line.
func scanCompleteLines(data []byte, _ bool) (advance int, token []byte, err error) {
	return bufio.ScanLines(data, false)
}
