package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// stderrLine is how long a line of a program's standard error may be, in bytes; a longer one is logged in pieces.
	stderrLine = 2 << 10
	// stderrBurst is how many lines a program may write at once, and stderrEvery how long it takes until it may write one more.
	// What is beyond is counted, so that a program, or the client that drives it, does not drown what else the log has to say.
	stderrBurst = 100
	stderrEvery = 100 * time.Millisecond
	// stderrRest is how much is still taken of what a program has written when it has ended: what a pipe holds.
	stderrRest = 64 << 10
)

// overheard is the standard error of a program on its way into the log.
type overheard struct {
	session *session
	pipe    *os.File
	done    chan struct{} // closed when all is in the log

	held  []byte // a line that has not ended; its capacity stays stderrLine
	limit *lineLimit
}

// overhear makes a pipe: theirs for a program, and what reads it.
func overhear(s *session) (theirs *os.File, o *overheard, err error) {
	ours, theirs, err := programPipe(0, "stderr")
	limit := &lineLimit{burst: stderrBurst, every: stderrEvery}
	return theirs, &overheard{session: s, pipe: ours, done: make(chan struct{}), limit: limit}, err
}

// run logs line after line, until end is called or nobody is left who could write.
func (o *overheard) run() {
	defer close(o.done)
	defer o.discard()
	o.held = make([]byte, 0, stderrLine)
	for {
		n, err := o.pipe.Read(o.held[len(o.held):cap(o.held)])
		if o.take(n); err != nil {
			break
		}
	}
	raw, err := o.pipe.SyscallConn()
	for left := stderrRest; err == nil && left > 0; {
		n := 0
		err = raw.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), o.held[len(o.held):cap(o.held)]) })
		if n <= 0 { // there is no more, or it will not come by itself
			break
		}
		o.take(n)
		left -= n
	}
	if len(o.held) > 0 {
		o.log(o.held)
	}
	o.tellSkipped()
}

// end has run log what is left; it returns when it has.
func (o *overheard) end() {
	_ = o.pipe.SetReadDeadline(longAgo) // on error nobody reads any more
	<-o.done
}

// discard is for a program that has not started.
func (o *overheard) discard() { _ = o.pipe.Close() } // nothing was written

// take logs the lines that n more bytes have made whole.
func (o *overheard) take(n int) {
	if n <= 0 {
		return
	}
	all := o.held[:len(o.held)+n]
	rest := all
	for {
		line, after, found := bytes.Cut(rest, []byte("\n"))
		if !found {
			break
		}
		o.log(bytes.TrimSuffix(line, []byte("\r")))
		rest = after
	}
	if len(rest) == cap(o.held) {
		o.log(rest)
		rest = nil
	}
	o.held = o.held[:copy(o.held[:cap(o.held)], rest)]
}

// log logs one line, or counts it.
func (o *overheard) log(line []byte) {
	if now := time.Now(); o.limit.allow(now) && o.session.server.lines.allow(now) {
		o.tellSkipped()
		o.say("program stderr", slog.String("line", string(line)))
	}
}

// tellSkipped logs how many lines of this program are not in the log.
func (o *overheard) tellSkipped() {
	if n := o.limit.takeSkipped(); n > 0 {
		o.say("program stderr left out", slog.Int64("lines", n))
	}
}

// say logs something about the session's program.
func (o *overheard) say(what string, attr slog.Attr) {
	src := &o.session.source
	o.session.server.log.LogAttrs(context.Background(), slog.LevelInfo, what,
		slog.String("listener", src.Listener), slog.String("remote", src.Remote), slog.String("session", src.Session), attr)
}
