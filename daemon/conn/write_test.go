package conn_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/internal/await"
)

func TestWriteSendsAll(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		if n, err := p.TryWrite([]byte("now ")); n != 4 || err != nil {
			t.Errorf("got %d, %v, want 4", n, err)
		}
		if err := result(t, func() error { return p.Write([]byte("all")) }); err != nil {
			t.Error(err)
		}
		p.CloseWrite()
		if got := p.receiveEnd(); got != "now all" {
			t.Errorf("received %q, want %q", got, "now all")
		}
	})
}

// fill writes until nothing more fits, and returns how much that was.
func fill(t *testing.T, p *pair) (written int) {
	t.Helper()
	p.setTaking(false)
	full := 0
	await.Until(t, func() bool {
		n, err := p.TryWrite([]byte(strings.Repeat("x", 64<<10)))
		if err != nil {
			t.Fatal(err)
		}
		if full++; n > 0 {
			written, full = written+n, 0
		}
		return full == 20 // the kernel may move on what it has
	}, func() { t.Errorf("%d bytes fit, and more do", written) })
	return written
}

func TestWriteDeadline(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		if n := fill(t, p); n == 0 {
			t.Error("wrote nothing")
		}
		text := []byte(strings.Repeat("x", 16<<20))
		p.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		isDeadline(t, result(t, func() error { return p.Write(text) }))
		p.SetReadDeadline(time.Unix(1, 0)) // it is for Wait alone
		p.SetWriteDeadline(time.Time{})
		p.setTaking(true)
		if err := result(t, func() error { return p.Write(text) }); err != nil {
			t.Error(err)
		}
	})
}

func TestAWriteThatWaitsEndsWithItsClient(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		fill(t, p)
		ended := make(chan error, 1)
		go func() { ended <- p.Write([]byte(strings.Repeat("x", 16<<20))) }()
		p.reset()
		if err := next(t, ended); !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
			t.Errorf("got %v, want that the client has gone", err)
		}
	})
}
