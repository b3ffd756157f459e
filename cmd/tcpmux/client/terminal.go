package client

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"tcpmux/cmd/internal/secure"

	"golang.org/x/term"
)

// interactive talks line by line at a terminal, and shows when the connection begins and when it
// ends normally.
func interactive(ctx context.Context, conn secure.Conn, o Options) error {
	fmt.Fprintf(o.Stdout, "connected to %s (Ctrl-D ends the input, Ctrl-C quits)\n", conn.RemoteAddr())
	restore, err := raw(o.Stdin)
	if err != nil {
		return err
	}
	defer restore()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	width, height := size(o.Stdout)
	s := newScreen(o.Stdin, o.Stdout, width, height)
	defer followSize(s, o.Stdout)()
	typed := newLines()
	t := newTalk(conn, typed, s)
	t.guard = restoring(restore)
	go readKeys(s, typed, t.guard, cancel)
	err = t.run(ctx)
	s.close(farewell(conn, err))
	return err
}

// readKeys ends the talk when reading keys ends.
func readKeys(s *screen, to *lines, guard func(), cancel context.CancelCauseFunc) {
	defer guard()
	cancel(s.read(to))
}

func farewell(conn secure.Conn, err error) string {
	if err != nil {
		return ""
	}
	return fmt.Sprintf("connection closed by %s\n", conn.RemoteAddr())
}

// raw puts the terminal into raw mode and returns a function that restores it.
func raw(f *os.File) (restore func(), err error) {
	fd := int(f.Fd())
	state, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("set terminal to raw mode: %w", err)
	}
	return func() { _ = term.Restore(fd, state) }, nil // it fails when the terminal is gone
}

// restoring returns a function to be deferred by goroutines other than the first, whose panics end
// the process without anybody else's deferred functions.
func restoring(restore func()) func() {
	return func() {
		if p := recover(); p != nil {
			restore()
			panic(p)
		}
	}
}

// followSize keeps the screen as large as the terminal until stop is called.
func followSize(s *screen, f *os.File) (stop func()) {
	changed, stopped := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changed, syscall.SIGWINCH)
	go resizeOn(changed, stopped, s, f)
	return func() {
		signal.Stop(changed)
		close(stopped)
	}
}

func resizeOn(changed <-chan os.Signal, stopped <-chan struct{}, s *screen, f *os.File) {
	for {
		select {
		case <-changed:
			s.resize(size(f))
		case <-stopped:
			return
		}
	}
}

// size returns the size of the terminal; 0 by 0 if it is not known.
func size(f *os.File) (width, height int) {
	width, height, _ = term.GetSize(int(f.Fd())) // 0 by 0 on error
	return width, height
}
