package logging

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestVisitsAreSummedUpOncePerInterval: however many clients there are, they cost one line.
func TestVisitsAreSummedUpOncePerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var v Visits
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		report := func() string {
			out.Reset()
			v.Report(log, time.Hour)
			return out.String()
		}
		if got := report(); got != "" {
			t.Errorf("no visit: got %q, want nothing", got)
		}
		v.Add("192.0.2.1:1")
		if got := report(); !strings.Contains(got, `msg="visits without data" clients=1 last=192.0.2.1:1 duration=0s`) {
			t.Errorf("the first: got %q, want one client and its address", got)
		}
		v.Add("192.0.2.1:2")
		if got := report(); got != "" {
			t.Errorf("the second within the hour: got %q, want nothing", got)
		}
		time.Sleep(time.Hour - time.Nanosecond)
		v.Add("192.0.2.1:3")
		if got := report(); got != "" {
			t.Errorf("the third within the hour: got %q, want nothing", got)
		}
		time.Sleep(time.Nanosecond)
		if got := report(); !strings.Contains(got, "clients=2 last=192.0.2.1:3 duration=1h0m0s") {
			t.Errorf("after an hour: got %q, want two clients and the last address", got)
		}
		time.Sleep(time.Hour)
		if got := report(); got != "" {
			t.Errorf("no visit since: got %q, want nothing", got)
		}
	})
}
