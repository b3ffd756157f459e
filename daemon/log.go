package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/systemd"
)

// logger is the daemon's own log. A reload may send it elsewhere while others write to it.
type logger struct {
	*slog.Logger
	stderr  io.Writer
	handler swapHandler
	file    *record.File // nil when it goes to stderr
}

// openLog opens the log: stderr, with priorities for the journal where that is what stderr is, or a rotating file.
func openLog(cfg config.Config, stderr io.Writer) (*logger, error) {
	l := &logger{stderr: stderr}
	l.handler.to = new(atomic.Pointer[slog.Handler])
	l.Logger = slog.New(l.handler)
	return l, l.reopen(cfg)
}

// reopen sends the log where cfg says. On an error it stays where it was.
func (l *logger) reopen(cfg config.Config) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		return fmt.Errorf("log level: %w", err)
	}
	if cfg.Log.File == "" {
		h := stderrHandler(l.stderr, level)
		l.handler.to.Store(&h)
		return l.close()
	}
	opt := fileOptions(cfg, cfg.Log.File)
	opt.Trouble = func(_ record.Trouble, err error) {
		if err != nil {
			fmt.Fprintf(l.stderr, "tcpmux: log file: %v\n", err)
		}
	}
	if err := l.openFile(opt); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	var h slog.Handler = newTextHandler(l.file, level)
	l.handler.to.Store(&h)
	return nil
}

// openFile opens the log's file, or makes the one that is open another.
func (l *logger) openFile(opt record.FileOptions) (err error) {
	if l.file != nil {
		return l.file.Reopen(opt)
	}
	l.file, err = record.OpenFile(opt)
	return err
}

// close closes the log's file, if it has one.
func (l *logger) close() error {
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

// swapHandler hands on to the handler that is in force.
type swapHandler struct{ to *atomic.Pointer[slog.Handler] }

// Enabled is that of the handler in force now.
func (h swapHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return (*h.to.Load()).Enabled(ctx, level)
}

// Handle is that of the handler in force now.
func (h swapHandler) Handle(ctx context.Context, r slog.Record) error {
	return (*h.to.Load()).Handle(ctx, r)
}

// WithAttrs returns a handler that is never swapped: a reload does not reach a logger that was made with attributes before it.
func (h swapHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return (*h.to.Load()).WithAttrs(attrs)
}

// WithGroup returns one that is never swapped, as WithAttrs does.
func (h swapHandler) WithGroup(name string) slog.Handler { return (*h.to.Load()).WithGroup(name) }

// textHandler writes lines with the time in UTC, as records have it.
type textHandler struct{ slog.Handler }

func newTextHandler(out io.Writer, level slog.Level) textHandler {
	return textHandler{slog.NewTextHandler(out, &slog.HandlerOptions{Level: level})}
}

// Handle writes the record as a line, its time in UTC.
func (h textHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Time = r.Time.UTC()
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the times of what it returns in UTC.
func (h textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return textHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the times of what it returns in UTC.
func (h textHandler) WithGroup(name string) slog.Handler {
	return textHandler{h.Handler.WithGroup(name)}
}

// journalHandler writes lines for the journal: it puts the priority in front (sd-daemon(3)) and leaves out the time and the
// level, which the journal keeps itself.
type journalHandler struct {
	slog.Handler
	out *prefixer
}

// prefixer is the writer below a journalHandler and all that were derived from it.
type prefixer struct {
	mu  sync.Mutex
	out io.Writer
	buf bytes.Buffer
}

// Write adds to the line that Handle is putting together, with mu locked; Handle passes it on. It never fails.
func (p *prefixer) Write(b []byte) (int, error) { return p.buf.Write(b) }

func newJournalHandler(out io.Writer, level slog.Level) *journalHandler {
	p := &prefixer{out: out}
	return &journalHandler{out: p, Handler: slog.NewTextHandler(p, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	})}
}

// Handle writes the record with one call, so that lines of several goroutines do not mix.
func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.buf.Reset()
	fmt.Fprintf(&h.out.buf, "<%d>", priority(r.Level))
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.out.out.Write(h.out.buf.Bytes())
	return err
}

// WithAttrs returns a handler whose lines have the priority too.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journalHandler{h.Handler.WithAttrs(attrs), h.out}
}

// WithGroup returns a handler whose lines have the priority too.
func (h *journalHandler) WithGroup(name string) slog.Handler {
	return &journalHandler{h.Handler.WithGroup(name), h.out}
}

// priority is the syslog severity of a level (RFC 5424, section 6.2.1).
func priority(level slog.Level) int {
	switch {
	case level >= slog.LevelError:
		return 3
	case level >= slog.LevelWarn:
		return 4
	case level >= slog.LevelInfo:
		return 6
	}
	return 7
}
