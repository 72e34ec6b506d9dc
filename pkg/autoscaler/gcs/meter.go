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
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
)

const (
	// maxReceived is the limit, in bytes, of all that a peer can send for one call.
	maxReceived = maxReply + 256<<10
	// maxFrames is the limit of the number of frames for one call. A reply of the largest size has 512.
	maxFrames = 4096
)

var (
	// errReceived means that the peer sent too much.
	errReceived = errors.New("peer sent too much")
	// errFrame means that the peer sent something else than frames of a type that gRPC uses.
	errFrame = errors.New("unknown frame")
)

// metered is a connection that limits how much a peer can send. HTTP/2 has frames that need no request, such as
// PING, and some that are logged, such as those of an unknown type. A peer that sends them without end must occupy
// neither the client nor the log.
type metered struct {
	net.Conn
	// bytes and frames are how much the peer can still send.
	bytes, frames atomic.Int64
	// greeting is the first byte that the peer sent, plus 1, or 0 without one.
	greeting atomic.Int32
	// ended is set when the peer has ended the connection. HTTP/2 has various errors for that.
	ended atomic.Bool

	// header is the header of the current frame, of which headerLength bytes are there.
	header       [9]byte
	headerLength int
	// payload is the number of bytes until the next header.
	payload int
}

// allow sets how much the peer can send for the next call.
func (m *metered) allow() {
	m.bytes.Store(maxReceived)
	m.frames.Store(maxFrames)
}

// Read reads as long as the peer sends no more than allowed.
func (m *metered) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		m.ended.Store(true)
	}
	if n == 0 {
		return n, err //nolint:wrapcheck // The error of a net.Conn.
	}
	m.greeting.CompareAndSwap(0, int32(b[0])+1)
	if m.isOther() {
		return 0, errFrame
	}
	if m.bytes.Add(-int64(n)) < 0 {
		return 0, errReceived
	}
	if err := m.count(b[:n]); err != nil {
		return 0, err
	}
	return n, err //nolint:wrapcheck // The error of a net.Conn.
}

// count counts the frames that start in the bytes, and checks their type.
func (m *metered) count(received []byte) error {
	for len(received) > 0 {
		if m.payload > 0 {
			n := min(m.payload, len(received))
			m.payload -= n
			received = received[n:]
			continue
		}
		n := copy(m.header[m.headerLength:], received)
		m.headerLength += n
		received = received[n:]
		if m.headerLength < len(m.header) {
			return nil
		}
		m.headerLength = 0
		m.payload = int(binary.BigEndian.Uint32(m.header[:4]) >> 8)
		// PRIORITY and types above CONTINUATION have no meaning for a client.
		const priority, continuation = 2, 9
		if kind := m.header[3]; kind == priority || kind > continuation {
			return errFrame
		}
		if m.frames.Add(-1) < 0 {
			return errReceived
		}
	}
	return nil
}

// isHTTP2 reports whether the peer has sent something that can be HTTP/2. The first frame is SETTINGS, which is
// shorter than 64 KiB, so that the first byte is 0.
func (m *metered) isHTTP2() bool { return m.greeting.Load() == 1 }

// isOther reports whether the peer has sent something else than HTTP/2.
func (m *metered) isOther() bool { return m.greeting.Load() > 1 }

// explainGreeting returns the text and the kind of an error of a peer that speaks something else than HTTP/2.
func (m *metered) explainGreeting() (message string, kind error) {
	const alert, handshake = 0x15, 0x16
	switch m.greeting.Load() - 1 {
	case 'H':
		return "the port speaks HTTP/1.1 and not gRPC", ErrProtocol
	case alert, handshake:
		return "the port requires TLS (RAY_USE_TLS)", ErrProtocol
	default:
		return "the port does not speak gRPC", ErrProtocol
	}
}
