package conn_test

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestFailureTellsOfAReset, once, and leaves what arrived before.
func TestFailureTellsOfAReset(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		p.send("ab")
		p.awaitUnread(t, 2)
		if err := p.Failure(); err != nil {
			t.Errorf("before: got %v, want none", err)
		}
		p.reset()
		eventually(t, func() bool { _, ended := p.Readable(); return ended })
		for _, want := range []error{unix.ECONNRESET, nil} {
			if err := p.Failure(); err != want {
				t.Errorf("got %v, want %v", err, want)
			}
		}
		if got, err := p.peek(t, 10); got != "ab" || err != nil {
			t.Errorf("peek: got %q, %v, want %q", got, err, "ab")
		}
	})
}
