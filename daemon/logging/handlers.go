package logging

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
)

// textHandler writes lines with the time in UTC, as records have it.
type textHandler struct{ slog.Handler }

func newTextHandler(out io.Writer, level slog.Level) textHandler {
	return textHandler{slog.NewTextHandler(out, &slog.HandlerOptions{Level: level})}
}

// Handle writes the record as a line with the time in UTC.
func (h textHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Time = r.Time.UTC()
	return h.Handler.Handle(ctx, r)
}

// WithAttrs returns a handler whose times are in UTC too.
func (h textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return textHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup returns a handler whose times are in UTC too.
func (h textHandler) WithGroup(name string) slog.Handler {
	return textHandler{h.Handler.WithGroup(name)}
}

// journalHandler writes lines for the journal: each begins with its priority (sd-daemon(3)), and
// has no time and no level, which the journal keeps itself.
type journalHandler struct {
	slog.Handler
	out *prefixer
}

// prefixer is the writer below a journalHandler and all handlers that were derived from it.
type prefixer struct {
	mu  sync.Mutex
	out io.Writer
	buf bytes.Buffer
}

// Write adds to the line that Handle puts together while it holds mu. It never fails.
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

// WithAttrs returns a handler whose lines have a priority too.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journalHandler{h.Handler.WithAttrs(attrs), h.out}
}

// WithGroup returns a handler whose lines have a priority too.
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
