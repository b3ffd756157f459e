// Package client is the interactive client. It promises the person at the keyboard that what the
// server says is shown at once and can do nothing to the terminal, that a line typed is a line
// sent, and that the terminal is left as it was found. It promises a script that the bytes pass in
// both directions as they are, that nothing of its own is among them, and that nil means that the
// connection ended normally. Output to a terminal is always escaped.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"time"

	"golang.org/x/term"

	"tcpmux/cmd/internal/secure"
)

// ErrInterrupt is the error of Run when Ctrl-C was typed at a terminal.
var ErrInterrupt = errors.New("interrupted")

// Options are the server, and what to talk over. No field has a default.
type Options struct {
	// Address is the server's, as cli.Address returns it.
	Address string
	// Timeout is how long connecting may take, over all of the server's addresses; 0 leaves it
	// to the kernel.
	Timeout time.Duration
	// Service is the service of TCPMUX (RFC 1078) to ask for; "" asks for none. With Help the
	// server lists its services.
	Service string
	// TLS is how TLS is spoken; nil is clear text.
	TLS *tls.Config
	// Stdin and Stdout are used line by line if both are terminals, else byte by byte. A Stdout
	// that is a terminal gets escaped text, whatever Stdin is.
	Stdin, Stdout *os.File
}

// Run connects and talks until the server closes the connection, then returns nil. The end of the
// input closes only this side of the connection: Run waits for what the server still says. When ctx
// is done, Run returns context.Cause(ctx) at once. An error is one line. Run may leave a goroutine
// behind that reads Stdin, and is therefore meant to be the last action of a process.
func Run(ctx context.Context, o Options) error {
	conn, err := connect(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // what was to be delivered has been asked for before
	shown := term.IsTerminal(int(o.Stdout.Fd()))
	if IsHelp(o.Service) {
		if o.Stdin, err = os.Open(os.DevNull); err != nil { // it has nothing to hear
			return err
		}
	}
	if shown && term.IsTerminal(int(o.Stdin.Fd())) {
		return interactive(ctx, conn, o)
	}
	return pipe(ctx, conn, o, shown)
}

// pipe talks byte by byte, and escapes what is shown at a terminal.
func pipe(ctx context.Context, conn secure.Conn, o Options, shown bool) error {
	t := newTalk(conn, newFile(o.Stdin), o.Stdout)
	if shown {
		e := NewEscaped(o.Stdout)
		t.out, t.flush = e, e.Flush
	}
	return t.run(ctx)
}
