package session_test

import (
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/logging"
	"tcpmux/daemon/servertest"
)

// TestVisitsWithoutDataAreSummedUp: any number of health checks leaves one line an interval.
func TestVisitsWithoutDataAreSummedUp(t *testing.T) {
	const visits = 300
	for _, events := range []bool{true, false} {
		f := servertest.New(t, func(cfg *config.Config) { cfg.Record.Events = events }).Open()
		var last *servertest.Client
		for range visits {
			last = f.Greeted()
			_ = last.Close()
			f.AwaitClients(0)
			f.Server.Report(logging.SummaryInterval)
		}
		talker := f.Greeted()
		talker.Say("hello\n")
		_ = talker.CloseWrite()
		talker.HearEnd()
		f.AwaitClients(0)
		if log := f.Log.String(); strings.Count(log, "visits without data") != 1 || strings.Contains(log, "level=INFO msg=\"session closed\"") == events {
			t.Errorf("events = %v: got %s, want one line for the visits, and one for a session with data: %v", events, log, !events)
		}
		f.Server.Report(0)
		f.Server.Report(0) // there is nothing new
		if l := f.Log.Line("visits without data", "clients=299", "last="+last.Addr(), "duration="); l == "" || strings.Count(f.Log.String(), "visits without data") != 2 {
			t.Errorf("events = %v: got %s, want a second line with the other %d", events, f.Log, visits-1)
		}
	}
}
