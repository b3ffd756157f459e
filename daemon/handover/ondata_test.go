package handover_test

import (
	"strings"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/systemd"
)

// onData has sessions recorded from their first message on.
func onData(c *config.Config) {
	asJSON(c)
	c.Record.Events = config.EventsOnData
}

// TestAnOpeningIsRecordedOnceOverProcesses, with the first message, whichever process has that; and
// never if there is none.
func TestAnOpeningIsRecordedOnceOverProcesses(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after string // what the client sends
		lost          bool   // the state of the connection is
		want          string // kinds of records, in order
	}{
		{"nothing is sent", "", "", false, ""},
		{"a message after the restart", "", "one\n", false, "open message close"},
		{"half a message before", "half", " a line\n", false, "open message close"},
		{"a message before", "one\n", "", false, "open message close"},
		{"messages before and after", "one\n", "two\n", false, "open message message close"},
		{"nothing is sent, and the state is lost", "", "", true, ""},
		{"a message after, and the state is lost", "", "one\n", true, "open message close"},
		{"a message before, and the state is lost", "one\n", "", true, "open message close"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, st := surviving(t, onData)
			d.Open()
			client := d.Greeted()
			client.Say(c.before)
			if strings.HasSuffix(c.before, "\n") {
				d.AwaitRecords(`"data":"one"`)
			}
			d.leave()
			if c.lost {
				st.lose(systemd.StateName, systemd.JournalName)
			}
			next := st.next(onData)
			client.Say(c.after)
			_ = client.CloseWrite()
			client.HearEnd()
			next.AwaitClients(0)
			if got := kinds(d, next); got != c.want {
				t.Errorf("records: got %q, want %q: %s%s", got, c.want, d.Out, next.Out)
			}
		})
	}
}

// TestAnOpeningIsRecordedOnceOverAKill: the process dies when its sink has the records, and the
// file has none of them yet.
func TestAnOpeningIsRecordedOnceOverAKill(t *testing.T) {
	d, st := surviving(t, onData)
	d.Open()
	client := d.Greeted()
	d.stuck(func() { client.Say("one\nhalf") })
	next := st.next(onData)
	client.Say(" a line\n")
	_ = client.CloseWrite()
	next.AwaitRecords(`"kind":"close"`, `"data":"half a line"`)
	if got, want := kinds(d, next), "open message message close"; got != want {
		t.Errorf("records: got %q, want %q: %s%s", got, want, d.Out, next.Out)
	}
}

// TestAHeldOpeningHasTheTimeOfTheConnection, which the next process knows from the one before.
func TestAHeldOpeningHasTheTimeOfTheConnection(t *testing.T) {
	d, st := surviving(t, onData)
	d.Open()
	client := d.Greeted()
	d.AwaitClients(1)
	first := d.session()
	servertest.Eventually(t, func() bool { return !first.Slot.Began().IsZero() }, func() { t.Error("got no time of the opening") })
	opened := time.Now().Add(-time.Hour)
	first.Slot.Hold(opened)
	d.leave()
	next := st.next(onData)
	client.Say("one\n")
	got, _, _ := strings.Cut(next.AwaitRecords(`"kind":"message"`), `","kind":"open"`)
	at := opened.UTC().Format("2006-01-02T15:04:")
	if !strings.HasPrefix(got, `{"time":"`+at) {
		t.Errorf("got %q, want a record of an opening at %s", got, at)
	}
}

// kinds returns the kinds of the records of daemons.
func kinds(daemons ...*daemon) string {
	var all []string
	for _, d := range daemons {
		for line := range strings.Lines(d.Out.String()) {
			_, line, _ = strings.Cut(line, `"kind":"`)
			kind, _, _ := strings.Cut(line, `"`)
			all = append(all, kind)
		}
	}
	return strings.Join(all, " ")
}
