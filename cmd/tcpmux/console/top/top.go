// Package top is a live table of a running daemon: rates, listeners, the busiest sources, and the
// sessions. It promises that the terminal is afterwards as it was, however top ends, and that
// nothing a client sends or is called reaches the terminal but printable ASCII.
package top

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/text"
	"tcpmux/daemon/control/api"
	"tcpmux/daemon/control/client"
)

// Daemon is what top asks for. *client.Client implements it.
type Daemon interface {
	Status(ctx context.Context) (api.Status, error)
	Sessions(ctx context.Context, f api.Filter) (api.Sessions, error)
	Session(ctx context.Context, id string) (api.Detail, error)
	Kill(ctx context.Context, f api.Filter) (int, error)
}

// Options are where and how top draws. All but Painter must be set.
type Options struct {
	Stdin, Stdout *os.File
	Interval      time.Duration // between two questions to the daemon
	Painter       text.Painter
}

// ErrNoTerminal reports that there is no terminal to draw on.
var ErrNoTerminal = errors.New(`want a terminal that can move its cursor; for a program, use "tcpmux status --json"`)

// Run shows the table until q, ctx is done, or Ctrl-C, which is a cli.SignalError. Its error is
// that of the first question if the daemon does not answer it; later it waits for the daemon.
func Run(ctx context.Context, d Daemon, o Options) error {
	if !term.IsTerminal(int(o.Stdin.Fd())) || !term.IsTerminal(int(o.Stdout.Fd())) || os.Getenv("TERM") == "dumb" {
		return ErrNoTerminal
	}
	t := &top{
		daemon: d, interval: o.Interval, screen: &screen{in: o.Stdin, out: o.Stdout, painter: o.Painter},
		keys: make(chan string), answers: make(chan answer), done: make(chan killResult), failed: make(chan error, 1),
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first := t.answer(ctx, t.question())
	if first.err != nil {
		return first.err
	}
	t.take(first)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGWINCH, syscall.SIGTSTP, syscall.SIGCONT)
	defer signal.Stop(signals)
	if err := t.screen.enter(); err != nil {
		t.screen.leave()
		return err
	}
	defer t.screen.leave()
	go t.read(ctx, o.Stdin)
	return t.run(ctx, signals)
}

// killResult is what a kill has done.
type killResult struct {
	id  string
	n   int
	err error
}

// top connects the model with the terminal and the daemon.
type top struct {
	model
	daemon   Daemon
	interval time.Duration
	screen   *screen
	keys     chan string
	answers  chan answer
	done     chan killResult
	failed   chan error // reading keys
	asking   bool       // an answer will come
	again    bool       // and another one is wanted after it
}

// run draws what happens.
func (t *top) run(ctx context.Context, signals chan os.Signal) error {
	tick := time.NewTicker(t.interval)
	defer tick.Stop()
	for {
		if err := t.screen.draw(t.view(t.screen.size())); err != nil {
			return err
		}
		var err error
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err = <-t.failed:
		case k := <-t.keys:
			var over bool
			if over, err = t.act(ctx, t.key(k), signals); over {
				return err
			}
		case a := <-t.answers:
			t.answered(ctx, a)
		case k := <-t.done:
			t.killed(k.id, k.n, k.err)
			t.ask(ctx)
		case s := <-signals:
			err = t.signalled(s.(syscall.Signal), signals)
		case <-tick.C:
			if !t.paused && !t.asking {
				t.ask(ctx)
			}
		}
		if err != nil {
			return err
		}
	}
}

// act does what a key has asked for. It reports whether top is over.
func (t *top) act(ctx context.Context, a action, signals chan os.Signal) (over bool, err error) {
	switch a {
	case quit:
		return true, nil
	case interrupt:
		return true, cli.SignalError{Signal: syscall.SIGINT}
	case suspend:
		return false, t.stop(signals)
	case redraw:
		t.screen.forget()
	case ask:
		t.ask(ctx)
	case kill:
		t.message = "killing " + t.victim
		go t.kill(ctx, t.victim)
	}
	return false, nil
}

// signalled follows the size of the terminal, and gives it back while the process is stopped.
func (t *top) signalled(s syscall.Signal, signals chan os.Signal) error {
	switch s {
	case syscall.SIGTSTP:
		return t.stop(signals)
	case syscall.SIGCONT: // after a SIGSTOP: a shell may have changed the terminal
		return t.screen.enter()
	}
	t.screen.forget()
	return nil
}

// stop stops the process, as a terminal does for Ctrl-Z, with the terminal as it was.
func (t *top) stop(signals chan os.Signal) error {
	t.screen.leave()
	for len(signals) > 0 { // none from before
		<-signals
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		return os.NewSyscallError("kill", err)
	}
	for <-signals != syscall.SIGCONT {
	}
	return t.screen.enter()
}

// read reads keys.
func (t *top) read(ctx context.Context, in *os.File) {
	defer t.screen.guard()
	buf := make([]byte, 256)
	for {
		n, err := in.Read(buf)
		for rest := buf[:n]; len(rest) > 0; {
			var k string
			if k, rest = nextKey(rest); k == "" {
				continue
			}
			select {
			case t.keys <- k:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			t.failed <- fmt.Errorf("read keys: %w", err)
			return
		}
	}
}

// ask asks the daemon, unless it is being asked: then again after that.
func (t *top) ask(ctx context.Context) {
	if t.again = t.asking; t.asking {
		return
	}
	t.asking = true
	q := t.question()
	go func() {
		defer t.screen.guard()
		select {
		case t.answers <- t.answer(ctx, q):
		case <-ctx.Done():
		}
	}()
}

// answered takes an answer.
func (t *top) answered(ctx context.Context, a answer) {
	t.asking = false
	t.take(a)
	if t.again {
		t.ask(ctx)
	}
}

// answer asks the daemon a question.
func (t *top) answer(ctx context.Context, q question) (a answer) {
	a.asked = q.detail
	if a.status, a.err = t.daemon.Status(ctx); a.err != nil {
		return a
	}
	if a.sessions, a.err = t.daemon.Sessions(ctx, q.filter); a.err != nil {
		return a
	}
	a.now = time.Now()
	if q.detail == "" {
		return a
	}
	switch d, err := t.daemon.Session(ctx, q.detail); {
	case err == nil:
		a.detail = &d
	case !errors.Is(err, client.ErrNotFound):
		a.err = err
	}
	return a
}

// kill kills a session.
func (t *top) kill(ctx context.Context, id string) {
	defer t.screen.guard()
	n, err := t.daemon.Kill(ctx, api.Filter{ID: id})
	select {
	case t.done <- killResult{id, n, err}:
	case <-ctx.Done():
	}
}
