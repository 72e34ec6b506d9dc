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
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const (
	// terminalInterval is how often the line is rewritten on a terminal.
	terminalInterval = 200 * time.Millisecond
	// logInterval is how often a line is added if the output is not a terminal.
	logInterval = 15 * time.Second
	// terminalWidth is the width of a line on a terminal. A longer line could wrap, and a
	// wrapped line cannot be rewritten.
	terminalWidth = 79
)

// progress shows the current step and its duration.
type progress struct {
	out      io.Writer
	terminal bool
}

// reporter updates the text and the detail of a step.
type reporter func(text, detail string)

func newProgress(out io.Writer) progress {
	file, ok := out.(*os.File)
	if !ok {
		return progress{out: out}
	}
	info, err := file.Stat()
	return progress{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// step shows text while work runs, and then the result that work returns. A short step only
// prints the result.
func (p progress) step(text string, work func(reporter) (result string, err error)) error {
	start := time.Now()
	var mu sync.Mutex
	var detail string
	report := func(newText, newDetail string) {
		mu.Lock()
		defer mu.Unlock()
		text, detail = newText, newDetail
	}
	current := func() string {
		mu.Lock()
		defer mu.Unlock()
		return statusLine(text, detail, time.Since(start))
	}

	stop := make(chan struct{})
	var printer sync.WaitGroup
	printer.Go(func() { p.printUntil(current, stop) })
	result, err := work(report)
	close(stop)
	printer.Wait()

	if p.terminal {
		fmt.Fprint(p.out, "\r\033[K")
	}
	if err != nil {
		fmt.Fprintf(p.out, "%s: failed\n", current())
		return err
	}
	fmt.Fprintln(p.out, statusLine(result, "", time.Since(start)))
	return nil
}

// printUntil prints the current line periodically until stop is closed.
func (p progress) printUntil(current func() string, stop <-chan struct{}) {
	interval := logInterval
	if p.terminal {
		interval = terminalInterval
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		if p.terminal {
			fmt.Fprint(p.out, "\r\033[K"+shorten(current(), terminalWidth))
		} else {
			fmt.Fprintln(p.out, current())
		}
	}
}

// statusLine returns a line such as "compiling 8 of 9 packages, 3m20s (net/http)".
func statusLine(text, detail string, elapsed time.Duration) string {
	precision := time.Second
	if elapsed < 10*time.Second {
		precision = 100 * time.Millisecond
	}
	line := fmt.Sprintf("%s, %s", text, elapsed.Round(precision))
	if detail != "" {
		line += " (" + detail + ")"
	}
	return line
}

// shorten cuts line to at most width characters.
func shorten(line string, width int) string {
	runes := []rune(line)
	if len(runes) <= width {
		return line
	}
	return string(runes[:width-1]) + "…"
}

// lineWriter calls a function with each line written to it.
type lineWriter struct {
	line func(string)
	rest []byte // an incomplete line
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, found := bytes.Cut(w.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		w.rest = rest
		w.line(string(line))
	}
}
