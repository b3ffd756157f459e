package forward

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"tcpmux/cmd/tcpmux-forward/stream"
)

// tornConn is of a stream whose last batch has lost its end.
type tornConn struct{ connection }

func (c tornConn) Last(ctx context.Context) (stream.Last, error) {
	last, err := c.connection.Last(ctx)
	last.Torn = true
	return last, err
}

// TestATornBatchIsNotGuessed where only the stream knew where the delivery stands: neither for the
// record files nor for archives. What an administrator is told to do helps.
func TestATornBatchIsNotGuessed(t *testing.T) {
	s := newSite(t)
	s.write(t, 10)
	if _, err := s.once(t); err != nil {
		t.Fatal(err)
	}
	run := func(opt Options) error {
		t.Helper()
		opt.Config, opt.Log = s.cfg, slog.New(slog.DiscardHandler)
		f, err := New(opt)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.connect = func(ctx context.Context, o stream.Options) (connection, error) {
			c, err := s.stream.connect(ctx, o)
			return tornConn{c}, err
		}
		return f.Run(t.Context())
	}
	s.write(t, 5)
	for name, opt := range map[string]Options{"once": {Once: true}, "files": {Files: []string{s.cfg.Record.File}}} {
		if err := run(opt); err == nil || !strings.Contains(err.Error(), "--forget") {
			t.Errorf("%s: got %v, want the next step", name, err)
		}
	}
	s.delivered(t, s.writer.lines[0][:10])
	if _, err := Forget(s.cfg); err != nil {
		t.Fatal(err)
	}
	s.write(t, 5)
	if err := run(Options{Once: true}); err != nil {
		t.Fatal(err)
	}
	s.delivered(t, append(s.writer.lines[0][:10:10], s.writer.lines[0][15:]...))
}
