// Package audit reads the audit log of an API server: every request, at its end.
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

// Request is one line of an audit log.
type Request struct {
	Verb string `json:"verb"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	UserAgent string `json:"userAgent"`
	// URI is the path with the query.
	URI string `json:"requestURI"`
	// ObjectRef is nil for a request that is about no object, such as for /version.
	ObjectRef      *Object `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	// Answered is when the answer was complete, by the API server's clock.
	Answered time.Time `json:"stageTimestamp"`
}

// Object is what a request is about. For a list or a watch it has no name.
type Object struct {
	Resource, Subresource, Namespace, Name string
}

// Resource returns what the request is about, such as "rays/status", or "".
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

// IsWrite tells whether the request was to change an object. A dry run is not.
func (r *Request) IsWrite() bool {
	return r.ObjectRef != nil && !strings.Contains(r.URI, "dryRun=All") && slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, r.Verb)
}

// Committed tells whether the server did what was asked.
func (r *Request) Committed() bool {
	return r.ResponseStatus.Code >= 200 && r.ResponseStatus.Code < 300
}

// String says what a request about an object did, such as "update rays/status x of namespace
// y: 200". The name of an object that is created is often not known.
func (r *Request) String() string {
	if r.ObjectRef == nil {
		return fmt.Sprintf("%s: %d", r.Verb, r.ResponseStatus.Code)
	}
	return fmt.Sprintf("%s %s %s of namespace %s: %d", r.Verb, r.Resource(), r.ObjectRef.Name, r.ObjectRef.Namespace, r.ResponseStatus.Code)
}

// Mark is a place in an audit log, at the beginning of a line.
type Mark int64

// End returns the end of an audit log as it is now. A line that is just being written comes
// after it.
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
	unfinished := len(tail) - 1 - bytes.LastIndexByte(tail, '\n')
	return Mark(size - int64(unfinished)), nil
}

// maxLine is how long a line may be. Those of the policy of hack/cluster have no objects, and
// so about two kilobytes.
const maxLine = 1 << 20

// Since returns the requests of clients whose user agent begins with agent, from a mark on. It
// ends after an error. A line that is just being written is left out.
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
		lines.Split(scanWholeLines)
		for lines.Scan() {
			// Most lines are of others, and decoding takes most of the time.
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

// scanWholeLines is bufio.ScanLines without a last line that has no end yet.
func scanWholeLines(data []byte, _ bool) (advance int, token []byte, err error) {
	return bufio.ScanLines(data, false)
}
