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

package podcause

import (
	"strings"
	"testing"
)

func TestErrorOf(t *testing.T) {
	tests := []struct {
		name, log, want string
	}{
		{"nothing", "\n ---\n", ""},
		{"one line", "boom\n", "boom"},
		{"the last line", "starting\nboom\n\n---\n", "boom"},
		{"a usage error", "Usage: ray start [OPTIONS]\n\nError: No such option '--redis-port'\n", "Error: No such option '--redis-port'"},
		{"a traceback", "Traceback (most recent call last):\n  File \"x.py\", line 1\nray.exceptions.RpcError: unavailable\n", "ray.exceptions.RpcError: unavailable"},
		{"an error with an explanation", "ValueError: port 1 is used\nUse another one.\n2026-03-01 11:59:58,123\tINFO scripts.py:1 -- Local node IP: 10.0.0.1\n", "ValueError: port 1 is used"},
		{"two errors", "KeyError: a\nDuring handling, another exception occurred:\nValueError: b\nsee above\n", "ValueError: b"},
		{"an error that is not at the beginning of a line", "no Error: here\nboom\n", "boom"},
		{"a panic", "panic: nil map\n\ngoroutine 1 [running]:\n", "panic: nil map"},
		{"only progress", "2026-03-01 11:59:58,123\tSUCC scripts.py:1 -- Ray runtime started.\n", "SUCC scripts.py:1 -- Ray runtime started."},
		{
			"a process of Ray 2.60",
			"2026-03-01 11:59:58,123\tERR scripts.py:128 -- \x1b[31m----- END raylet.out tail (exit code(s)=1) -----\x1b[39m\n" +
				"2026-03-01 11:59:58,124\tERR scripts.py:1315 -- \x1b[31mRemaining processes will be killed.\x1b[39m\n",
			"raylet exited with 1",
		},
		{
			"a process of Ray 2.10",
			"Some Ray subprocesses exited unexpectedly:\n  \x1b[1mgcs_server\x1b[22m [exit code=-9]\n\nRemaining processes will be killed.\n",
			"gcs_server exited with -9",
		},
		{"a long log", "Error: long ago\n" + strings.Repeat("x", maxRead) + "\nboom\n", "boom"},
	}
	pod := newPod()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := errorOf(&pod, test.log); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
