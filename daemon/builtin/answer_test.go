package builtin

import (
	"encoding/binary"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/session"
)

// TestTime has the examples of RFC 868, and what comes after them.
func TestTime(t *testing.T) {
	for at, want := range map[string]uint32{
		"1970-01-01T00:00:00Z": 2_208_988_800,
		"1976-01-01T00:00:00Z": 2_398_291_200,
		"1980-01-01T00:00:00Z": 2_524_521_600,
		"1983-05-01T00:00:00Z": 2_629_584_000,
		"1858-11-17T00:00:00Z": 1<<32 - 1_297_728_000,
		"2036-02-07T06:28:15Z": 1<<32 - 1,
		"2036-02-07T06:28:16Z": 0, // they begin again
		"2036-02-07T07:28:17Z": 3601,
	} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := binary.BigEndian.Uint32(timeText(now.In(time.FixedZone("", 3600)))); got != want {
			t.Errorf("%s: got %d, want %d", at, got, want)
		}
	}
}

// answers are what the two services send in a bubble, whose clock begins in 2000.
var answers = map[string]string{
	config.ServiceDaytime: "2000-01-01T00:00:00Z\r\n",
	config.ServiceTime:    "\xbc\x17\xc2\x00",
}

// TestAnAnswerAndTheEnd are RFC 867 and RFC 868: what the client sends is thrown away, and it is
// waited for until it closes, but not for ever.
func TestAnAnswerAndTheEnd(t *testing.T) {
	for service, want := range answers {
		for _, c := range []struct {
			name  string
			talk  func(f *fixture)
			after time.Duration
		}{
			{"it closes", func(f *fixture) { f.client.SendEnd() }, 0},
			{"it has closed before it heard", func(f *fixture) { f.client.Send("x"); f.client.SendEnd() }, 0},
			{"it stays", func(*fixture) {}, lingering},
			{"it talks on", func(f *fixture) {
				for range 12 {
					f.send("and another thing\r\n")
					time.Sleep(time.Second)
				}
			}, lingering},
		} {
			t.Run(service+", "+c.name, func(t *testing.T) {
				bubble(t, service, func(l *config.Listener, _ *session.Config) { l.Banner = config.Text("now: ") }, func(f *fixture) {
					f.holds("now: "+want, true)
					f.ends("")
					c.talk(f)
					<-f.ended
					f.ends(session.ByDone)
					if got := time.Since(f.Opened).Truncate(time.Second); got != c.after && c.name != "it talks on" {
						t.Errorf("it has ended after %v, want %v", got, c.after)
					}
				})
			})
		}
	}
}

// TestTheNextProcessDoesNotAnswerAgain: it waits for the client.
func TestTheNextProcessDoesNotAnswerAgain(t *testing.T) {
	bubble(t, config.ServiceTime, func(_ *config.Listener, c *session.Config) {
		c.Resume = &session.Resume{Greeted: true, Framing: 1}
	}, func(f *fixture) {
		f.holds("", true)
		f.client.SendEnd()
		f.ends(session.ByDone)
	})
	bubble(t, config.ServiceTime, func(_ *config.Listener, c *session.Config) {
		c.Resume = &session.Resume{Greeted: true}
	}, func(f *fixture) {
		f.holds(answers[config.ServiceTime], true)
	})
}

// TestTheFirstLines are those that RFC 864 shows.
func TestTheFirstLines(t *testing.T) {
	const want = ` !"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_` + "`" + `abcdefg
!"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_` + "`" + `abcdefgh
"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_` + "`" + `abcdefghi
`
	bubble(t, config.ServiceChargen, func(l *config.Listener, _ *session.Config) { l.Limits.MaxSessionBytes = 3 * 74 }, func(f *fixture) {
		f.holds(strings.ReplaceAll(want, "\n", "\r\n"), true)
		f.client.SendEnd()
		f.ends(session.ByVolume)
	})
}

// chargenText returns what chargen sends first, made anew.
func chargenText(n int) string {
	var b strings.Builder
	for line := 0; b.Len() < n; line++ {
		for i := range 72 {
			b.WriteByte(byte(' ' + (line+i)%95))
		}
		b.WriteString("\r\n")
	}
	return b.String()[:n]
}

// TestLineAfterLine: the pattern repeats after 95 lines, and what the client sends has no effect.
func TestLineAfterLine(t *testing.T) {
	bubble(t, config.ServiceChargen, nil, func(f *fixture) {
		f.client.Send("stop")
		time.Sleep(time.Second)
		f.client.SendEnd() // it reads on
		time.Sleep(time.Second)
		f.client.SetRoom(0)
		synctest.Wait()
		got := f.client.Received()
		if len(got) < 2*bytesPerSecond || got != chargenText(len(got)) {
			t.Errorf("got %d bytes that are not the pattern", len(got))
		}
		if n := f.client.Unread(); n != 0 {
			t.Errorf("got %d bytes that were not taken, want none", n)
		}
	})
}
