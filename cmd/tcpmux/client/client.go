// Package client is the interactive client. It promises the person at the keyboard that what the
// server says is shown at once and can do nothing to the terminal, that a line typed is a line
// sent, and that the terminal is left as it was found. It promises a script that the bytes pass in
// both directions as they are, that nothing of its own is among them, and that nil means the talk
// ended in order. Wherever the output is a terminal, it is escaped.
package client

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/term"
)

// ErrInterrupt is the error of Run when Ctrl-C was typed at a terminal.
var ErrInterrupt = errors.New("interrupted")

// Options say with whom to talk and over what. No field has a default.
type Options struct {
	// Address is the server's, as Address returns it.
	Address string
	// Timeout is how long connecting may take, over all of the server's addresses; 0 leaves it to
	// the kernel.
	Timeout time.Duration
	// Stdin and Stdout are talked over: line by line when both are terminals, else byte by byte. A
	// Stdout that is a terminal is shown escaped text whatever Stdin is.
	Stdin, Stdout *os.File
}

// Run connects and talks until the server closes the connection, then returns nil. The end of the
// input closes only our half: what the server still has to say is waited for. The end of ctx ends
// everything at once with context.Cause(ctx). An error is one line. Run may leave a goroutine
// behind that reads Stdin, and so is meant to be the last deed of a process.
func Run(ctx context.Context, o Options) error {
	conn, err := dial(ctx, o.Address, o.Timeout)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // what was to be delivered has been asked for before
	shown := term.IsTerminal(int(o.Stdout.Fd()))
	if shown && term.IsTerminal(int(o.Stdin.Fd())) {
		return interactive(ctx, conn, o)
	}
	return pipe(ctx, conn, o, shown)
}

// pipe talks byte by byte, and escapes what is shown at a terminal.
func pipe(ctx context.Context, conn *net.TCPConn, o Options, shown bool) error {
	t := newTalk(conn, newFile(o.Stdin), o.Stdout)
	if shown {
		e := NewEscaped(o.Stdout)
		t.out, t.flush = e, e.Flush
	}
	return t.run(ctx)
}
