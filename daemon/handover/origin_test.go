package handover_test

import (
	"strings"
	"testing"

	"tcpmux/config"
)

// TestASessionKeepsWhatItBeganWith in the next daemon, whose configuration has another name,
// framing, banner and events.
func TestASessionKeepsWhatItBeganWith(t *testing.T) {
	first := func(c *config.Config) {
		asJSON(c)
		c.Record.Events = config.AllEvents
		c.Listeners[0].Ack = config.Text("ok\n")
	}
	for _, c := range []struct {
		name   string
		change func(*config.Config) // of the first configuration
	}{
		{"renamed, and all else changed", func(c *config.Config) {
			l := &c.Listeners[0]
			l.Name, l.Framing, l.Ack = "other", "nul", config.Text("other\n")
			c.Record.Events = config.NoEvents
		}},
		{"changed", func(c *config.Config) { c.Listeners[0].Framing, c.Listeners[0].Ack = "nul", config.Text("other\n") }},
		{"as it was", func(*config.Config) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, st := surviving(t, first)
			d.Open()
			client := d.Greeted()
			client.Say("one\nhalf")
			client.Hear("ok\n")
			d.leave()
			next := st.next(func(cfg *config.Config) { first(cfg); c.change(cfg) })
			client.Say(" a line\n")
			client.Hear("ok\n")
			_ = client.CloseWrite()
			next.AwaitRecords(`"kind":"message","listener":"tcpmux"`, `"data":"half a line"`, `"kind":"close"`)
			if got := next.Out.String(); strings.Contains(got, `"listener":"other"`) {
				t.Errorf("records: got %q, want the name that the session began with in all", got)
			}
		})
	}
}
