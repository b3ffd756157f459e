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
	case why.OfUpstream(), why == ByExec, why == ByProcess, why == BySuspect, why == BySink:
		return slog.LevelWarn
	case why == ByProxy, why == ByMux, why == ByHandshake, why == ByCertificate: // the log alone says what is wrong
		return slog.LevelInfo
	case s.Events != config.NoEvents, s.silent(), s.Settings.OffRecord():
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// silent reports whether the client has sent nothing, as health checks do. What a program gets
// without a record is not known.
func (s *Session) silent() bool { return s.offset == 0 && (s.Settings.Record || s.Settings.Muxes()) }

// log says in one line how the session went, unless nobody wants to read it. What needs much of the
// stack, which then grows, is only done for a line.
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
	s.logLine(h, now, level, why, err)
}

// logLine logs the line. It goes to the handler itself: slog's front would unwind the stack to find
// a source line that nobody asked for, which at thousands of visits a second is felt.
func (s *Session) logLine(h slog.Handler, now time.Time, level slog.Level, why Reason, err error) {
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
	s.addUpstream(&r)
	if err != nil {
		r.AddAttrs(slog.Any("err", err))
	}
	if s.lost > 0 {
		r.AddAttrs(slog.Int("lost", int(s.lost)))
	}
	_ = h.Handle(context.Background(), r) // there is nobody left to tell
}

// addUpstream adds what is known of the upstream, if there is one.
func (s *Session) addUpstream(r *slog.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends != nil && s.ends.connected.upstream != "" {
		up := &s.ends.connected
		r.AddAttrs(slog.String("upstream", up.upstream), slog.Int64("answered", up.answered))
	}
}
