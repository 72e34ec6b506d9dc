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
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// serve starts a peer on a real socket, and returns its address. The handler gets each connection, which is closed
// when it returns or the test ends.
func serve(t testing.TB, handler func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			group.Go(func() {
				defer conn.Close()
				handler(conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		group.Wait()
	})
	return listener.Addr().String()
}

// serveHTTP starts a peer that speaks HTTP/2 without TLS correctly.
func serveHTTP(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: handler, Protocols: &protocols, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return listener.Addr().String()
}

// respond writes a gRPC response: a message, and a status in the trailer.
func respond(w http.ResponseWriter, message []byte, status, text string) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
	_, _ = w.Write(frame(message))
	w.Header().Set("Grpc-Status", status)
	if text != "" {
		w.Header().Set("Grpc-Message", text)
	}
}

// Types and flags of HTTP/2 frames.
const (
	frameData         = 0
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	framePing         = 6
	frameGoAway       = 7
	frameContinuation = 9

	endStream  = 1
	endHeaders = 4
)

// rawPeer writes HTTP/2 frames, also those that are not allowed. Methods ignore errors: the client may have closed
// the connection.
type rawPeer struct{ net.Conn }

// write writes a frame. It reports false if the client has closed the connection.
func (p rawPeer) write(kind, flags byte, stream uint32, payload []byte) bool {
	header := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	header = append(header, flags)
	header = binary.BigEndian.AppendUint32(header, stream)
	_, err := p.Write(append(header, payload...))
	return err == nil
}

// headers writes a header or a trailer.
func (p rawPeer) headers(flags byte, stream uint32, pairs ...string) bool {
	return p.write(frameHeaders, flags, stream, headerBlock(pairs...))
}

// headerBlock encodes names and values without compression.
func headerBlock(pairs ...string) []byte {
	var block []byte
	for i := 0; i < len(pairs); i += 2 {
		block = append(block, 0)
		for _, text := range pairs[i : i+2] {
			if len(text) < 127 {
				block = append(block, byte(len(text)))
			} else {
				block = append(block, 127)
				block = binary.AppendUvarint(block, uint64(len(text)-127))
			}
			block = append(block, text...)
		}
	}
	return block
}

// request reads frames until the end of a request, and returns its stream. It answers nothing else.
func (p rawPeer) request() (stream uint32, ok bool) {
	for {
		var header [9]byte
		if _, err := io.ReadFull(p, header[:]); err != nil {
			return 0, false
		}
		length := binary.BigEndian.Uint32(header[:4]) >> 8
		if _, err := io.CopyN(io.Discard, p, int64(length)); err != nil {
			return 0, false
		}
		kind, flags := header[3], header[4]
		if kind <= frameHeaders && flags&endStream != 0 {
			return binary.BigEndian.Uint32(header[5:]), true
		}
	}
}

// reply writes a complete reply of a message with status 0.
func (p rawPeer) reply(stream uint32, message []byte) bool {
	return p.replyHeader(stream) && p.write(frameData, 0, stream, frame(message)) &&
		p.headers(endHeaders|endStream, stream, "grpc-status", "0")
}

// replyHeader writes the header of a reply.
func (p rawPeer) replyHeader(stream uint32) bool {
	return p.headers(endHeaders, stream, ":status", "200", "content-type", "application/grpc")
}

// handshake reads the preface and writes SETTINGS.
func handshake(conn net.Conn, settings ...byte) (peer rawPeer, ok bool) {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	if _, err := io.CopyN(io.Discard, conn, int64(len(preface))); err != nil {
		return rawPeer{}, false
	}
	peer = rawPeer{conn}
	return peer, peer.write(frameSettings, 0, 0, settings)
}

// raw returns a handler that shakes hands, reads one request, and calls f.
func raw(f func(peer rawPeer, stream uint32)) func(net.Conn) {
	return func(conn net.Conn) {
		peer, ok := handshake(conn)
		if !ok {
			return
		}
		if stream, ok := peer.request(); ok {
			f(peer, stream)
		}
	}
}

// drainInput reads until the client closes the connection.
func drainInput(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// endOutput closes the connection in the direction of the client, and reads until the client closes it, too. To
// close a connection with unread input would reset it, and the client could fail to send before it has read all.
func endOutput(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
		drainInput(conn)
	}
}
