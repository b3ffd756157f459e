package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/secure"
)

// talk is one full-duplex conversation. It is used once.
type talk struct {
	conn secure.Conn
	in   input
	out  io.Writer
	// flush writes what out holds back, at the end of what the server says.
	flush func() error
	// silent is true until the server has said something. The hearing goroutine owns it.
	silent bool
	// guard is deferred by each goroutine of the talk.
	guard func()

	// busy holds a token while somebody takes from in and sends it. Its holder owns what
	// follows.
	busy   chan struct{}
	buf    []byte
	unsent int  // bytes taken from in that a failed write left over
	ended  bool // in has ended and our half is closed

	sentErr error // why nothing more is sent, but for ended

	// Closed when the sending goroutine sends no more; sentErr may then be read without busy.
	sent chan struct{}
}

func newTalk(conn secure.Conn, in input, out io.Writer) *talk {
	return &talk{
		conn: conn, in: in, out: out, flush: func() error { return nil }, silent: true, guard: func() {},
		busy: make(chan struct{}, 1), buf: make([]byte, 64<<10), sent: make(chan struct{}),
	}
}

// run talks until the server closes (nil), something fails, or ctx is done (context.Cause).
func (t *talk) run(ctx context.Context) error {
	heard := make(chan error, 1)
	go t.hear(heard)
	go t.send()
	sent := t.sent
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-heard:
			if err != nil {
				return err
			}
			return t.settle(ctx)
		case <-sent:
			if t.sentErr != nil && !isNet(t.sentErr) {
				// A broken connection is told after the server's last words
				// instead.
				return t.sentErr
			}
			sent = nil
		}
	}
}

// hear copies what the server says, until it has said everything.
func (t *talk) hear(heard chan<- error) {
	defer t.guard()
	buf := make([]byte, 64<<10)
	for {
		n, err := t.conn.Read(buf)
		if n > 0 {
			t.silent = false
			if _, werr := t.out.Write(buf[:n]); werr != nil {
				heard <- outputError(werr)
				return
			}
		}
		if err != nil {
			heard <- t.heardAll(err)
			return
		}
	}
}

// heardAll ends the output after a read has failed with err, and returns the error of the talk; nil
// if the server has closed it.
func (t *talk) heardAll(err error) error {
	if werr := t.flush(); werr != nil {
		return outputError(werr)
	}
	if err == io.EOF {
		return nil
	}
	return t.hint(t.broken(err))
}

// hint adds the next step to the error of a connection, if that may be to speak TLS or to show a
// certificate.
func (t *talk) hint(err error) error {
	switch {
	case strings.HasSuffix(err.Error(), "tls: certificate required"): // no type of crypto/tls tells
		return fmt.Errorf("%w (--cert FILE shows one)", err)
	case t.silent && errors.Is(err, syscall.ECONNRESET) && t.conn == secure.Conn(secure.Below(t.conn)):
		return fmt.Errorf("%w; if the server speaks TLS, --tls does too", err)
	}
	return err
}

func outputError(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return cli.ErrOutputGone
	}
	return fmt.Errorf("write standard output: %w", cause(err))
}

func (t *talk) broken(err error) error {
	return fmt.Errorf("talk to %q: %w", t.conn.RemoteAddr(), cause(err))
}

// send sends all of the input.
func (t *talk) send() {
	defer t.guard()
	for {
		err := t.in.Wait()
		t.busy <- struct{}{}
		if err == nil {
			err = t.pass()
		}
		t.sentErr = err
		done := err != nil || t.ended
		if done {
			close(t.sent)
		}
		<-t.busy
		if done {
			return
		}
	}
}

// pass sends the input that is available, and closes this side of the connection at its end. The
// caller holds busy.
func (t *talk) pass() error {
	n, err := t.in.Read(t.buf)
	if n > 0 {
		sent, werr := t.conn.Write(t.buf[:n])
		if t.unsent = n - sent; werr != nil {
			return werr
		}
	}
	if err == io.EOF {
		t.ended = true
		// It fails when the connection is gone, which hear tells better.
		_ = t.conn.CloseWrite()
		return nil
	}
	return err
}

// settle completes the talk after the server has closed its side. Most servers have then closed the
// other direction too, but that shows only when something is sent: so settle sends the input that
// is available, and then waits only for the kernel to confirm that it has arrived.
func (t *talk) settle(ctx context.Context) error {
	// A server that neither reads nor resets would hold a write for ever. Where no deadline can
	// be set the write has failed.
	defer context.AfterFunc(ctx, func() { _ = t.conn.SetWriteDeadline(time.Unix(1, 0)) })()
	select {
	case t.busy <- struct{}{}: // kept: the sending goroutine has returned, or waits for good
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for t.sentErr == nil && !t.ended && t.in.Ready() {
		t.sentErr = t.pass()
	}
	err := t.verdict(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// verdict returns an error unless the server has taken all of the input. The caller holds busy.
func (t *talk) verdict(ctx context.Context) error {
	switch n := t.unsent + t.unacknowledged(ctx); {
	case errors.Is(t.sentErr, syscall.EPIPE):
		return fmt.Errorf("send to %q: it closed the connection; at least %d bytes may not have been delivered", t.conn.RemoteAddr(), n)
	case isNet(t.sentErr):
		return t.broken(t.sentErr)
	case t.sentErr != nil:
		return t.sentErr
	case n > 0:
		return fmt.Errorf("send to %q: it closed the connection; %d bytes may not have been delivered", t.conn.RemoteAddr(), n)
	}
	return nil
}

// isNet reports whether err came from the connection rather than from the input.
func isNet(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}
