package session

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/config"
)

// TestLevelOfASession: what the record file tells is for debugging, what may have cost a record
// never is.
func TestLevelOfASession(t *testing.T) {
	for _, c := range []struct {
		name     string
		recorded bool // else a program gets what the client sends
		events   config.Events
		progress progress
		reason   Reason
		want     slog.Level
	}{
		{"in the record file", true, config.AllEvents, progress{offset: 9}, ByEOF, slog.LevelDebug},
		{"not in the record file", true, config.NoEvents, progress{offset: 9}, ByEOF, slog.LevelInfo},
		{"without data", true, config.NoEvents, progress{}, ByEOF, slog.LevelDebug},
		{"without data, in the record file", true, config.AllEvents, progress{}, ByIdle, slog.LevelDebug},
		{"with data, in the record file", true, config.EventsOnData, progress{offset: 9}, ByEOF, slog.LevelDebug},
		{"its opening is held", true, config.EventsOnData, progress{opening: openHeld}, ByEOF, slog.LevelDebug},
		{"a program's, not in the record file", false, config.NoEvents, progress{}, "exit 0", slog.LevelInfo},
		{"a program's, in the record file", false, config.AllEvents, progress{}, "exit 0", slog.LevelDebug},
		{"a program that records, without data", true, config.NoEvents, progress{}, "exit 0", slog.LevelDebug},
		{"records lost", true, config.AllEvents, progress{lost: 1}, BySink, slog.LevelError},
		{"no program", true, config.AllEvents, progress{}, ByExec, slog.LevelWarn},
		{"the sink failed, nothing lost", true, config.AllEvents, progress{}, BySink, slog.LevelWarn},
		{"its process has died", true, config.AllEvents, progress{offset: 9}, ByProcess, slog.LevelWarn},
		{"a suspect", true, config.AllEvents, progress{offset: 9}, BySuspect, slog.LevelWarn},
		{"a faulty PROXY header", true, config.AllEvents, progress{}, ByProxy, slog.LevelInfo},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &Session{Config: Config{Events: c.events}, progress: c.progress}
			s.Settings = &Settings{Listener: config.Listener{Record: c.recorded}}
			if got := s.level(c.reason); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestASessionIsOneLine, with all that there is to tell.
func TestASessionIsOneLine(t *testing.T) {
	for _, c := range []struct {
		name   string
		events config.Events
		sent   string
		want   string // of the line, behind the time
	}{
		{"recorded", config.AllEvents, "one\nhalf", `level=DEBUG msg="session closed" listener=tcpmux remote=192.0.2.7:4711 session=0-1 reason=eof records=2 bytes=8 duration=1.235s`},
		{"not recorded", config.NoEvents, "one\n", `level=INFO msg="session closed" listener=tcpmux remote=192.0.2.7:4711 session=0-1 reason=eof records=1 bytes=4 duration=1.235s`},
		{"without data", config.NoEvents, "", `level=DEBUG msg="session closed" listener=tcpmux remote=192.0.2.7:4711 session=0-1 reason=eof records=0 bytes=0 duration=1.235s`},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, nil, func(f *fixture) {
				f.config.Events = c.events
				f.start()
				f.send(c.sent)
				f.pass(1234567 * time.Microsecond)
				f.sendEnd()
				_, got, _ := strings.Cut(strings.TrimSpace(f.log.String()), " ")
				if got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
				var visits strings.Builder
				f.env.Visits.Report(slog.New(slog.NewTextHandler(&visits, nil)), 0)
				if silent := visits.Len() > 0; silent != (c.sent == "") {
					t.Errorf("a visit without data: got %v (%q)", silent, visits.String())
				}
			})
		})
	}
}

// TestLinesAreLimited, but not those of lost records.
func TestLinesAreLimited(t *testing.T) {
	for _, lost := range []bool{false, true} {
		bubble(t, nil, func(f *fixture) {
			for f.env.Lines.Allow(time.Now()) {
			}
			f.start()
			if lost {
				f.sink.hold()
				f.send("one\n")
				f.sink.close(errClosed)
			} else {
				f.sendEnd()
			}
			synctest.Wait()
			f.over(0)
			if got := f.log.Len() > 0; got != lost {
				t.Errorf("lost %v: got %q", lost, f.log.String())
			}
		})
	}
}
