// Package logging is the daemon's own log: where it goes, in what form, and how many lines of it
// clients can cause. No client can make the daemon log without bound.
package logging

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"

	"tcpmux/daemon/recordfile"
	"tcpmux/daemon/systemd"
)

// Options say what is logged, and where.
type Options struct {
	// Level is the lowest level that is logged, in the notation of slog.Level.UnmarshalText.
	Level string
	// File is a rotating file. If its Path is "", the log goes to stderr. Its Trouble is
	// replaced: what is wrong with the log file is written to stderr.
	File recordfile.Options
}

// Log is the daemon's log. Any goroutine may log. Reopen, Follow, Tick and Close are for one
// goroutine at a time.
type Log struct {
	*slog.Logger
	stderr  io.Writer
	handler swapHandler
	file    *recordfile.File // nil: the log goes to stderr
}

// Open opens the log: a rotating file, or stderr. On stderr, lines have a priority for the journal
// if stderr is connected to it. The caller closes the log.
func Open(opt Options, stderr io.Writer) (*Log, error) {
	l := &Log{stderr: stderr}
	l.handler.to = new(atomic.Pointer[slog.Handler])
	l.Logger = slog.New(l.handler)
	if err := l.Reopen(opt); err != nil {
		return nil, err
	}
	return l, nil
}

// Reopen sends the log where opt says. After an error it goes where it went before.
func (l *Log) Reopen(opt Options) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(opt.Level)); err != nil {
		return fmt.Errorf("log level: %w", err)
	}
	if opt.File.Path == "" {
		h := stderrHandler(l.stderr, level)
		l.handler.to.Store(&h)
		return l.Close()
	}
	opt.File.Trouble = func(_ recordfile.Trouble, err error) {
		if err != nil {
			fmt.Fprintf(l.stderr, "tcpmux: log file: %v\n", err)
		}
	}
	if err := l.openFile(opt.File); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	var h slog.Handler = newTextHandler(l.file, level)
	l.handler.to.Store(&h)
	return nil
}

func (l *Log) openFile(opt recordfile.Options) (err error) {
	if l.file != nil {
		return l.file.Reopen(opt)
	}
	l.file, err = recordfile.Open(opt)
	return err
}

// Follow closes a log file that was moved away or deleted, and opens a new one under its name.
// Without a file it does nothing.
func (l *Log) Follow() error {
	if l.file == nil {
		return nil
	}
	return l.file.Follow()
}

// Tick rotates the log file if its period is over. Call it about once a second.
func (l *Log) Tick() {
	if l.file != nil {
		l.file.Tick()
	}
}

// Close closes the log file, if there is one.
func (l *Log) Close() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

func stderrHandler(stderr io.Writer, level slog.Level) slog.Handler {
	if f, isFile := stderr.(*os.File); isFile && systemd.ToJournal(f) {
		return newJournalHandler(stderr, level)
	}
	return newTextHandler(stderr, level)
}

// swapHandler passes records on to the handler that is in force.
type swapHandler struct{ to *atomic.Pointer[slog.Handler] }

// Enabled asks the handler that is in force.
func (h swapHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return (*h.to.Load()).Enabled(ctx, level)
}

// Handle passes the record to the handler that is in force.
func (h swapHandler) Handle(ctx context.Context, r slog.Record) error {
	return (*h.to.Load()).Handle(ctx, r)
}

// WithAttrs returns a handler that is never swapped: Reopen does not reach a logger that was given
// attributes before.
func (h swapHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return (*h.to.Load()).WithAttrs(attrs)
}

// WithGroup returns a handler that is never swapped, as WithAttrs does.
func (h swapHandler) WithGroup(name string) slog.Handler { return (*h.to.Load()).WithGroup(name) }
