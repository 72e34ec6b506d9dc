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
	// terminalInterval is how often the line on a terminal is rewritten.
	terminalInterval = 200 * time.Millisecond
	// logInterval is how often a line is added where lines can't be rewritten.
	logInterval = 15 * time.Second
	// terminalWidth is a width which practically every terminal has. A longer
	// line would wrap, and a wrapped line can't be rewritten.
	terminalWidth = 79
)

// progress shows what is being done and since when.
type progress struct {
	out      io.Writer
	terminal bool
}

// reporter sets what a step shows: what it is doing, and on what.
type reporter func(doing, detail string)

func newProgress(out io.Writer) progress {
	file, ok := out.(*os.File)
	if !ok {
		return progress{out: out}
	}
	info, err := file.Stat()
	return progress{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// step shows that something is being done until work ends, and then what work
// says it has done. Steps which end soon only leave this last line.
func (p progress) step(doing string, work func(reporter) (done string, err error)) error {
	start := time.Now()
	var mu sync.Mutex
	var detail string
	report := func(newDoing, newDetail string) {
		mu.Lock()
		defer mu.Unlock()
		doing, detail = newDoing, newDetail
	}
	current := func() string {
		mu.Lock()
		defer mu.Unlock()
		return statusLine(doing, detail, time.Since(start))
	}

	stop := make(chan struct{})
	var shower sync.WaitGroup
	shower.Go(func() { p.show(current, stop) })
	done, err := work(report)
	close(stop)
	shower.Wait()

	if p.terminal {
		fmt.Fprint(p.out, "\r\033[K")
	}
	if err != nil {
		fmt.Fprintf(p.out, "%s: failed\n", current())
		return err
	}
	fmt.Fprintln(p.out, statusLine(done, "", time.Since(start)))
	return nil
}

// show prints the current line again and again until stop is closed.
func (p progress) show(current func() string, stop <-chan struct{}) {
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

// statusLine is, for example, "compiling 8 of 9 packages, 3m20s (net/http)".
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

// lineWriter hands each line written to it to a function.
type lineWriter struct {
	line func(string)
	rest []byte // the beginning of a line not yet complete
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
