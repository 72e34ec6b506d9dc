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

package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"

	"github.com/kubeflow/ray-operator/test/faults/history"
)

var (
	servingAddress = regexp.MustCompile(`Serving /metrics" address="([^"]+)"`)
	goroutineTotal = regexp.MustCompile(`^goroutine profile: total ([0-9]+)`)
	heapInUse      = regexp.MustCompile(`# HeapInuse = ([0-9]+)`)
)

// measure measures all operators. One of them may have just been restarted.
func (s *setup) measure(ctx context.Context) ([]history.Size, error) {
	var sizes []history.Size
	for _, operator := range s.operators() {
		err := eventually(ctx, func() error {
			size, err := operator.measure(ctx)
			if err == nil {
				sizes = append(sizes, size)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("measuring an operator: %w", err)
		}
	}
	return sizes, nil
}

// measure returns the size of the operator's process.
func (o *operator) measure(ctx context.Context) (history.Size, error) {
	log, err := os.ReadFile(o.log)
	if err != nil {
		return history.Size{}, err
	}
	addresses := servingAddress.FindAllSubmatch(log, -1)
	if len(addresses) == 0 {
		return history.Size{}, errors.New("the operator does not serve profiles yet")
	}
	profiles := "http://" + string(addresses[len(addresses)-1][1]) + "/debug/pprof/"
	goroutines, err := readNumber(ctx, profiles+"goroutine?debug=1", goroutineTotal)
	if err != nil {
		return history.Size{}, err
	}
	if slices.Contains(o.env, mutationDetector) {
		// The copies of the mutation detector are most of the heap.
		return history.Size{Goroutines: int(goroutines)}, nil
	}
	heap, err := readNumber(ctx, profiles+"heap?debug=1&gc=1", heapInUse)
	return history.Size{Goroutines: int(goroutines), HeapBytes: heap}, err
}

// readNumber reads a page and returns the number that a pattern matches.
func readNumber(ctx context.Context, url string, pattern *regexp.Regexp) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	match := pattern.FindSubmatch(page)
	if match == nil {
		return 0, fmt.Errorf("GET %s: %s: no match for %q", url, response.Status, pattern)
	}
	return strconv.ParseInt(string(match[1]), 10, 64)
}
