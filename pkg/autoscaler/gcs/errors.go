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
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
)

// The kinds of errors of a Client, for errors.Is. The text of an error of any kind depends only on the cause:
// it has no address or port, so that equal failures have equal texts.
var (
	// ErrUnreachable means that there was no connection, or no reply in time.
	ErrUnreachable = errors.New("GCS is unreachable")
	// ErrUnauthenticated means that the token is missing or incorrect.
	ErrUnauthenticated = errors.New("GCS rejects the token")
	// ErrUnimplemented means that this version of Ray has no such method.
	ErrUnimplemented = errors.New("GCS does not implement the method")
	// ErrProtocol means that the peer is no GCS without TLS, or that its reply is invalid.
	ErrProtocol = errors.New("GCS sent an invalid reply")
	// ErrLimit means that the peer exceeded a limit on the size of a reply.
	ErrLimit = errors.New("GCS sent too large a reply")
)

// maxMessage is the limit, in bytes, of a message from the peer in an error.
const maxMessage = 200

// callError is an error of a call. Its text has no part that differs between equal failures.
type callError struct {
	kind    error
	message string
	cause   error
}

// Error returns the kind of the error and what happened.
func (e *callError) Error() string { return e.kind.Error() + ": " + e.message }

// Unwrap returns the kind and the cause.
func (e *callError) Unwrap() []error {
	if e.cause == nil {
		return []error{e.kind}
	}
	return []error{e.kind, e.cause}
}

// failure returns an error of a kind.
func failure(kind error, format string, args ...any) error {
	return &callError{kind: kind, message: fmt.Sprintf(format, args...)}
}

// StatusError is a gRPC status other than OK. It is one of the kinds above if the status means the same.
type StatusError struct {
	// Code is the status, from 1 to 16 for those that gRPC defines.
	Code int
	// Message is that of the peer, in one line of valid UTF-8 with at most 200 bytes.
	Message string
}

// codes are the names of the gRPC statuses.
var codes = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
	"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// The statuses that have a kind.
const (
	codeUnimplemented   = 12
	codeUnavailable     = 14
	codeUnauthenticated = 16
)

// Error returns the status and the message.
func (e *StatusError) Error() string {
	name := fmt.Sprintf("gRPC status %d", e.Code)
	if e.Code >= 0 && e.Code < len(codes) {
		name += " (" + codes[e.Code] + ")"
	}
	if kind := e.kind(); kind != nil {
		name = kind.Error() + ": " + name
	}
	if e.Message == "" {
		return name
	}
	return name + ": " + e.Message
}

// Is reports whether the status is of a kind of errors.
func (e *StatusError) Is(kind error) bool { return kind == e.kind() }

// kind returns the kind of the status, or nil.
func (e *StatusError) kind() error {
	switch e.Code {
	case codeUnimplemented:
		return ErrUnimplemented
	case codeUnavailable:
		return ErrUnreachable
	case codeUnauthenticated:
		return ErrUnauthenticated
	default:
		return nil
	}
}

// endpoint matches an IPv4 address, with or without a port, and the port of any host.
var endpoint = regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b|\]:\d+`)

// statusMessage returns the value of the header grpc-message, decoded, without addresses, and as OneLine
// returns it.
func statusMessage(header string) string {
	return OneLine(endpoint.ReplaceAllString(decodePercent(header), "*"), maxMessage)
}

// decodePercent decodes bytes that are encoded as %XX, and leaves others as they are.
func decodePercent(text string) string {
	decoded := make([]byte, 0, len(text))
	for text != "" {
		if len(text) >= 3 && text[0] == '%' {
			if value, err := strconv.ParseUint(text[1:3], 16, 8); err == nil {
				decoded = append(decoded, byte(value))
				text = text[3:]
				continue
			}
		}
		decoded = append(decoded, text[0])
		text = text[1:]
	}
	return string(decoded)
}

// OneLine returns a text of a peer in one line of printable characters in valid UTF-8, with at most limit
// bytes, but not fewer than three.
func OneLine(text string, limit int) string {
	text = text[:min(len(text), 4*limit)]
	text = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return -1
		case unicode.IsSpace(r), unicode.IsControl(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		default:
			return -1
		}
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= limit {
		return text
	}
	end := max(limit-len("…"), 0)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// transportError returns the error for a failure to connect, send or receive. The texts of package net have
// local ports in them, and those of HTTP/2 have stream numbers, so that they are only the cause.
func transportError(ctx context.Context, err error, conn *metered) error {
	// The context is the reason of whatever failed after its end.
	if ended := ctx.Err(); errors.Is(ended, context.Canceled) {
		return fmt.Errorf("call of GCS canceled: %w", context.Canceled)
	} else if ended != nil {
		err = ended
	}
	message, kind := explain(err, conn)
	return &callError{kind: kind, message: message, cause: err}
}

// explain returns the text and the kind for a failure of a connection, which is nil if there is none yet.
func explain(err error, conn *metered) (message string, kind error) {
	var timeout net.Error
	var lookup *net.DNSError
	var errno syscall.Errno
	switch {
	case errors.Is(err, errReceived):
		return "more bytes or frames than a reply can have", ErrLimit
	case conn != nil && conn.isOther():
		return conn.explainGreeting()
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return "host not found", ErrUnreachable
	case errors.As(err, &timeout) && timeout.Timeout() && conn == nil:
		return "timeout while connecting", ErrUnreachable
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout while waiting for the reply", ErrUnreachable
	case errors.As(err, &lookup):
		return "looking up the host failed", ErrUnreachable
	case conn != nil && !conn.isHTTP2():
		return "connection closed without a reply, which is how a GCS with TLS (RAY_USE_TLS) replies", ErrUnreachable
	case conn == nil && errors.As(err, &errno):
		return errno.Error(), ErrUnreachable
	case conn == nil:
		return "connecting failed", ErrUnreachable
	case conn.ended.Load(), errors.As(err, &errno), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, net.ErrClosed):
		return "connection closed before the end of the reply", ErrUnreachable
	default:
		return "HTTP/2 error", ErrProtocol
	}
}
