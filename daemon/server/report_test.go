package server_test

import (
	"strings"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/logging"
	"tcpmux/daemon/servertest"
)

// TestAFloodOfVisitsCannotFloodTheLog, even if the record file does not have the ends of sessions.
func TestAFloodOfVisitsCannotFloodTheLog(t *testing.T) {
	const visits, most = 40, 5
	f := servertest.New(t, func(cfg *config.Config) { cfg.Record.Events = config.NoEvents })
	f.Server.Env().Lines = logging.NewLineLimit(most, time.Hour)
	f.Open()
	for range visits {
		c := f.Greeted()
		c.Say("hello\n")
		_ = c.CloseWrite()
		c.HearEnd()
		f.AwaitClients(0)
	}
	f.Server.Report(0)
	log := f.Log.Await(t, "lines=35")
	if got := strings.Count(log, "session closed"); got != most {
		t.Errorf("got %d lines, want %d", got, most)
	}
}
