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
	const visits = 1000
	for _, events := range []config.Events{config.AllEvents, config.NoEvents, config.EventsOnData} {
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
		if log := f.Log.String(); strings.Count(log, "visits without data") != 1 || strings.Contains(log, "level=INFO msg=\"session closed\"") != (events == config.NoEvents) {
			t.Errorf("events = %v: got %s, want one line for the visits, and one for a session with data without events", events, log)
		}
		f.Server.Report(0)
		f.Server.Report(0) // there is nothing new
		if l := f.Log.Line("visits without data", "clients=999", "last="+last.Addr(), "duration="); l == "" || strings.Count(f.Log.String(), "visits without data") != 2 {
			t.Errorf("events = %v: got %s, want a second line with the other %d", events, f.Log, visits-1)
		}
		if got := f.Server.Visits(); got != visits {
			t.Errorf("events = %v: got %d visits, want %d", events, got, visits)
		}
		checkVisits(t, f, events, talker.Addr(), visits)
	}
}

// checkVisits checks the records of visits without data, and of one client that has sent a message.
func checkVisits(t *testing.T, f *servertest.Fixture, events config.Events, talker string, visits int) {
	t.Helper()
	want := map[config.Events]int{config.AllEvents: 2*visits + 3, config.NoEvents: 1, config.EventsOnData: 3}[events]
	if got := strings.Count(f.Out.String(), "\n"); got != want {
		t.Errorf("events = %v: got %d records, want %d", events, got, want)
	}
	if events == config.EventsOnData {
		f.AwaitRecords(" open from "+talker+"\n", " from "+talker+": hello\n", " close from "+talker+": eof, 1 records, 6 bytes\n")
	}
}
