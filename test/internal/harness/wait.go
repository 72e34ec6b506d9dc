package harness

import (
	"context"
	"testing"
	"time"
)

// Timeout is how long to wait for something that takes well under a second on an idle machine.
const Timeout = 60 * time.Second

// Poll calls a condition until it returns nil. When ctx is done, it returns the last error.
func Poll(ctx context.Context, condition func() error) error {
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Eventually waits until a condition returns nil, and fails the test after Timeout.
func Eventually(t testing.TB, what string, condition func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Timeout)
	defer cancel()
	if err := Poll(ctx, condition); err != nil {
		t.Fatalf("timed out after %s waiting until %s: %v", Timeout, what, err)
	}
}
