package handover_test

import (
	"io"
	"strings"
	"testing"

	"tcpmux/config"
)

// serving returns a change of a configuration whose listener has a built-in service.
func serving(service string, record bool) func(*config.Config) {
	return func(c *config.Config) {
		l := &c.Listeners[0]
		l.Service, l.Record, l.Banner = service, record, config.Bytes{}
		if l.Model == "process" {
			l.Model = "goroutine"
		}
	}
}

// TestChargenGoesOnWithTheNextDaemon with the next character, whether its client reads or not.
func TestChargenGoesOnWithTheNextDaemon(t *testing.T) {
	change := serving(config.ServiceChargen, false)
	d, st := surviving(t, change)
	d.Open()
	c := d.Client()
	var got strings.Builder
	take := func(n int64) {
		t.Helper()
		if _, err := io.CopyN(&got, c, n); err != nil {
			t.Fatal(err)
		}
	}
	take(10_000)
	for range 3 {
		d.leave()
		d = st.next(change)
		take(500_000)
	}
	d.AwaitClients(1)
	for i := range got.Len() {
		line, column := i/74, i%74
		want := byte(' ' + (line+column)%95)
		if column >= 72 {
			want = "\r\n"[column-72]
		}
		if got.String()[i] != want {
			t.Fatalf("byte %d: got %.20q, want the pattern", i, got.String()[i:])
		}
	}
}

// TestEchoGoesOnWithTheNextDaemon, recorded or not, also where its client did not read meanwhile:
// each byte comes back once.
func TestEchoGoesOnWithTheNextDaemon(t *testing.T) {
	for name, record := range map[string]bool{"off the record": false, "recorded": true} {
		t.Run(name, func(t *testing.T) {
			change := serving(config.ServiceEcho, record)
			d, st := surviving(t, change)
			d.Open()
			c := d.Deaf()
			c.Say("one\n")
			c.Hear("one\n")
			many := strings.Repeat("0123456789abcde\n", 20_000)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				c.Say(many)
			}()
			c.Hear(many[:1000])
			d.leave()
			d = st.next(change)
			c.Hear(many[1000:2000])
			d.leave()
			d = st.next(change)
			c.Hear(many[2000:])
			<-sent
			_ = c.CloseWrite()
			if rest := c.HearEnd(); rest != "" {
				t.Errorf("got %.40q again", rest)
			}
			if record {
				d.AwaitRecords("close from " + c.Addr() + ": eof, 20001 records, 320004 bytes\n")
			}
			d.AwaitClients(0)
		})
	}
}
