//go:build !linux

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

package main

import (
	"context"
	"errors"
	"io"
)

var errNotLinux = errors.New("--node real requires Linux; without it, nodes are simulated")

func checkNodeSupport() error { return errNotLinux }

func (c cluster) startInit(context.Context) (pid int, start io.WriteCloser, err error) {
	return 0, nil, errNotLinux
}

func runInit(context.Context, io.Reader) error { return errNotLinux }
