package servertest

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpmux/internal/await"
)

// Patience is how long a test waits for what must come, and how long its connections may live. It
// is long because a machine may be busy; only a failing test waits that long.
const Patience = 5 * time.Minute

// Eventually waits until holds returns true. If it never does, tell reports that and the test ends.
func Eventually(t *testing.T, holds func() bool, tell func()) {
	t.Helper()
	await.Until(t, holds, tell)
}

// Result waits for the error that something leaves in a channel when it ends, such as Shutdown.
func Result(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(Patience):
		t.Fatal("it goes on, want its end")
		return nil
	}
}

// Done returns a context that is done.
func Done() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// HoldsAll reports whether s holds every text.
func HoldsAll(s string, texts []string) bool {
	return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(s, text) })
}

// Lacks ends a test that needs what this machine does not have; how says how to get it. Under CI
// the test fails, as nothing may be skipped there unnoticed.
func Lacks(t *testing.T, what, how string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s: %s", what, how)
	}
	t.Skipf("%s: %s", what, how)
}
