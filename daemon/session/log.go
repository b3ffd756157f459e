package session

import (
	"context"
	"log/slog"
	"time"

	"tcpmux/config"
)

// level is that of the line which says how the session went. The record file has the end of a
// session too, where events are recorded; only what may have cost a record, and what the record
// file does not tell, is logged in any case.
func (s *Session) level(why Reason) slog.Level {
	switch {
	case s.lost > 0:
		return slog.LevelError
	case why == ByExec, why == ByProcess, why == BySuspect, why == BySink:
		return slog.LevelWarn
	case why == ByProxy, why == ByHandshake, why == ByCertificate: // the log alone says what is wrong
		return slog.LevelInfo
	case s.Events != config.NoEvents, s.silent():
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// silent reports whether the client has sent nothing, as health checks do. What a program gets
// without a record is not known.
func (s *Session) silent() bool { return s.offset == 0 && s.Settings.Record }

// log says in one line how the session went. It goes to the handler itself: slog's front would
// unwind the stack to find a source line that nobody asked for, which at thousands of visits a
// second is felt.
func (s *Session) log(why Reason, err error) {
	s.Counts.Ended(string(why))
	if s.silent() {
		s.Env.Visits.Add(s.Source.Remote)
		s.Counts.SilentVisit()
	}
	level, ctx := s.level(why), context.Background()
	h := s.Env.Log.Handler()
	if !h.Enabled(ctx, level) {
		return
	}
	now := time.Now()
	if s.lost == 0 && !s.Env.Lines.Allow(now) {
		return
	}
	r := slog.NewRecord(now, level, "session closed", 0)
	r.AddAttrs(
		slog.String("listener", s.Source.Listener),
		slog.String("remote", s.Source.Remote),
		slog.String("session", s.Source.Session),
		slog.String("reason", string(why)),
		slog.Int64("records", s.records),
		slog.Int64("bytes", s.offset),
		slog.Duration("duration", now.Sub(s.Opened).Round(time.Millisecond)),
	)
	if s.Source.Proxy != "" {
		r.AddAttrs(slog.String("proxy", s.Source.Proxy))
	}
	if err != nil {
		r.AddAttrs(slog.Any("err", err))
	}
	if s.lost > 0 {
		r.AddAttrs(slog.Int64("lost", s.lost))
	}
	_ = h.Handle(ctx, r) // there is nobody left to tell
}
