package program

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/logging"
	"tcpmux/daemon/record"
)

const (
	// stderrLine is the length of the longest line that is logged whole, in bytes; a longer
	// line is logged in pieces.
	stderrLine = 2 << 10
	// stderrBurst is how many lines a program may write at once, and stderrEvery the time after
	// which it may write one more. Lines beyond that are only counted, so that a program, or
	// the client that drives it, does not bury the rest of the log.
	stderrBurst = 100
	stderrEvery = 100 * time.Millisecond
	// stderrRest is how much is still read after the program has ended: what a pipe holds.
	stderrRest = 64 << 10
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// stderrLog logs what a program writes to its standard error.
type stderrLog struct {
	log     *slog.Logger
	source  *record.Source
	pipe    *os.File
	done    chan struct{}      // closed when everything is in the log
	own     *logging.LineLimit // of this program
	all     *logging.LineLimit // of all sessions
	partial []byte             // a line that has not ended; its capacity stays stderrLine
}

// newStderrLog makes a pipe: theirs is for the program, and run logs what comes out of it.
func newStderrLog(log *slog.Logger, source *record.Source, all *logging.LineLimit) (theirs *os.File, l *stderrLog, err error) {
	ours, theirs, err := newPipe("stderr", true)
	if err != nil {
		return nil, nil, err
	}
	return theirs, &stderrLog{
		log:    log,
		source: source,
		pipe:   ours,
		done:   make(chan struct{}),
		own:    logging.NewLineLimit(stderrBurst, stderrEvery),
		all:    all,
	}, nil
}

// run logs line after line, until end is called or nobody is left who could write.
func (l *stderrLog) run() {
	defer close(l.done)
	defer l.discard()
	l.partial = make([]byte, 0, stderrLine)
	for {
		n, err := l.pipe.Read(l.free())
		if l.add(n); err != nil {
			break
		}
	}
	raw, err := l.pipe.SyscallConn()
	for left := stderrRest; err == nil && left > 0; {
		n := 0
		err = raw.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), l.free()) })
		if n <= 0 { // nothing is left, or nothing that can be read
			break
		}
		l.add(n)
		left -= n
	}
	if len(l.partial) > 0 {
		l.logLine(l.partial)
	}
	l.reportSkipped()
}

// end makes run log what is left, and returns when it has.
func (l *stderrLog) end() {
	_ = l.pipe.SetReadDeadline(longAgo) // it fails when run has ended
	<-l.done
}

// discard closes the pipe. Called instead of run, it is for a program that has not started.
func (l *stderrLog) discard() { _ = l.pipe.Close() } // nothing was written

// free is where the bytes behind the partial line go.
func (l *stderrLog) free() []byte { return l.partial[len(l.partial):cap(l.partial)] }

// add logs the lines that are whole now that n bytes were read into free.
func (l *stderrLog) add(n int) {
	if n <= 0 {
		return
	}
	rest := l.partial[:len(l.partial)+n]
	for {
		line, after, found := bytes.Cut(rest, []byte("\n"))
		if !found {
			break
		}
		l.logLine(bytes.TrimSuffix(line, []byte("\r")))
		rest = after
	}
	if len(rest) == cap(l.partial) {
		l.logLine(rest)
		rest = nil
	}
	l.partial = l.partial[:copy(l.partial[:cap(l.partial)], rest)]
}

// logLine logs one line, or counts it as skipped.
func (l *stderrLog) logLine(line []byte) {
	if now := time.Now(); l.own.Allow(now) && l.all.Allow(now) {
		l.reportSkipped()
		l.write("program stderr", slog.String("line", string(line)))
	}
}

// reportSkipped logs how many lines of this program are not in the log.
func (l *stderrLog) reportSkipped() {
	if n := l.own.TakeSkipped(); n > 0 {
		l.write("program stderr left out", slog.Int64("lines", n))
	}
}

// write logs something about the session's program.
func (l *stderrLog) write(msg string, attr slog.Attr) {
	l.log.LogAttrs(context.Background(), slog.LevelInfo, msg,
		slog.String("listener", l.source.Listener), slog.String("remote", l.source.Remote),
		slog.String("session", l.source.Session), attr)
}
