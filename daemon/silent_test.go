package daemon

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"tcpmux/config"
)

// TestLevelOfASession: what the record file tells is for debugging, what may have cost a record never is.
func TestLevelOfASession(t *testing.T) {
	for _, c := range []struct {
		name   string
		s      *session
		reason reason
		want   slog.Level
	}{
		{"in the record file", &session{events: true, offset: 9}, byEOF, slog.LevelDebug},
		{"not in the record file", &session{offset: 9}, byEOF, slog.LevelInfo},
		{"without data", &session{}, byEOF, slog.LevelDebug},
		{"without data, in the record file", &session{events: true}, byIdle, slog.LevelDebug},
		{"a program's, not in the record file", &session{settings: &listenerSettings{launch: &launch{}}}, "exit 0", slog.LevelInfo},
		{"a program's, in the record file", &session{events: true, settings: &listenerSettings{launch: &launch{}}}, "exit 0", slog.LevelDebug},
		{"a program that records, without data", &session{settings: &listenerSettings{Listener: config.Listener{Record: true}, launch: &launch{}}}, "exit 0", slog.LevelDebug},
		{"records lost", &session{events: true, lost: 1}, bySink, slog.LevelError},
		{"no program", &session{events: true}, byExec, slog.LevelWarn},
		{"the sink failed, nothing lost", &session{events: true}, bySink, slog.LevelWarn},
		{"its process has died", &session{events: true, offset: 9}, byChild, slog.LevelWarn},
		{"a suspect", &session{events: true, offset: 9}, bySuspect, slog.LevelWarn},
		{"a faulty PROXY header", &session{events: true}, byProxy, slog.LevelInfo},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.s.settings == nil {
				c.s.settings = &listenerSettings{Listener: config.Listener{Record: true}}
			}
			if got := c.s.level(c.reason); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestVisitsWithoutDataAreSummedUp: health checks leave one line an interval, however many there are.
func TestVisitsWithoutDataAreSummedUp(t *testing.T) {
	const visits = 300
	for _, events := range []bool{true, false} {
		d := newDesk(t, func(cfg *config.Config) { cfg.Record.Events = events }).open()
		var last *client
		for range visits {
			last = d.greeted()
			_ = last.Close()
			d.awaitClients(0)
			d.srv.silent.tell(d.srv.log, summaryInterval)
		}
		talker := d.greeted()
		talker.say("hello\n")
		_ = talker.CloseWrite()
		talker.hearEnd()
		d.awaitClients(0)
		if log := d.log.String(); strings.Count(log, "visits without data") != 1 || strings.Contains(log, "level=INFO msg=\"session closed\"") == events {
			t.Errorf("events = %v: got %s, want one line for the visits, and one for a session with data: %v", events, log, !events)
		}
		d.srv.silent.tell(d.srv.log, 0)
		d.srv.silent.tell(d.srv.log, 0) // there is nothing new
		if l := d.log.line("visits without data", "clients=299", "last="+last.addr(), "duration="); l == "" || strings.Count(d.log.String(), "visits without data") != 2 {
			t.Errorf("events = %v: got %s, want a second line with the other %d", events, d.log, visits-1)
		}
	}
}
