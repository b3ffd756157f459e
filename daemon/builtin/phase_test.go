package builtin

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/session"
)

// slow has a client have room for some of what it is sent.
func slow(f *fixture) {
	f.client.SetRoom(100)
	f.send(strings.Repeat("x", 1000))
}

// fast has a client send more than a burst.
func fast(f *fixture) { f.send(strings.Repeat("x", burstBytes+100*chunkSize)) }

// TestASessionLeaves whatever it waits for, at once, with nothing in between: what was taken of the
// stream was sent back.
func TestASessionLeaves(t *testing.T) {
	for _, c := range []struct {
		name, service string
		talk          func(f *fixture)
	}{
		{"a silent client", config.ServiceEcho, func(f *fixture) { f.send("x") }},
		{"one that does not read", config.ServiceEcho, slow},
		{"one that is too fast", config.ServiceEcho, fast},
		{"one that is too fast, to nobody", config.ServiceDiscard, fast},
		{"one that reads all", config.ServiceChargen, func(*fixture) {}},
		{"one that reads nothing", config.ServiceChargen, func(f *fixture) { f.client.SetRoom(0); f.send("x") }},
		{"one that got its answer", config.ServiceDaytime, func(f *fixture) { f.send("x") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, c.service, nil, func(f *fixture) {
				c.talk(f)
				at := time.Now()
				f.Enter(session.Leaving)
				f.ends(session.ByLeave)
				if took := time.Since(at); took != 0 {
					t.Errorf("it has left after %v, want at once", took)
				}
				if c.service == config.ServiceEcho && f.Offset() != int64(len(f.client.Received())) {
					t.Errorf("got offset %d, and %d bytes that came back", f.Offset(), len(f.client.Received()))
				}
			})
		})
	}
}

// TestASessionIsOver at once, or when it is killed.
func TestASessionIsOver(t *testing.T) {
	for _, service := range []string{config.ServiceEcho, config.ServiceDiscard, config.ServiceChargen, config.ServiceTime} {
		for name, end := range map[string]func(f *fixture){
			"over":   func(f *fixture) { f.Enter(session.Over) },
			"killed": func(f *fixture) { f.Kill() },
		} {
			t.Run(service+" "+name, func(t *testing.T) {
				bubble(t, service, nil, func(f *fixture) {
					slow(f)
					end(f)
					f.ends(session.ByDrain)
				})
			})
		}
	}
}

// TestAClientThatIsToFinish is told that nothing more will be sent, once it has what it is due.
func TestAClientThatIsToFinish(t *testing.T) {
	for _, c := range []struct {
		name, service string
		talk          func(f *fixture)
		want          string
	}{
		{"a silent client", config.ServiceEcho, func(f *fixture) { f.send("x") }, "x"},
		{"one that does not read", config.ServiceEcho, func(f *fixture) {
			f.client.SetRoom(1)
			f.send("xyz")
			time.AfterFunc(time.Second, func() { f.client.SetRoom(10) })
		}, "xyz"},
		{"one that sends to nobody", config.ServiceDiscard, func(f *fixture) { f.send("x") }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, c.service, nil, func(f *fixture) {
				c.talk(f)
				f.Enter(session.Draining)
				time.Sleep(2 * lookAgain)
				f.holds(c.want, true)
				f.send("too late")
				if f.ends(""); f.client.Unread() != 0 {
					t.Errorf("got %d bytes that were not taken, want none", f.client.Unread())
				}
				f.client.SendEnd()
				f.holds(c.want, true)
				f.ends(session.ByEOF)
			})
		})
	}
	bubble(t, config.ServiceChargen, nil, func(f *fixture) {
		time.Sleep(time.Second)
		f.Enter(session.Draining)
		synctest.Wait()
		got := f.client.Received()
		time.Sleep(time.Minute)
		f.holds(got, true)
		f.client.SendEnd()
		f.ends(session.ByEOF)
	})
}

// TestChargenGoesOn with the next character.
func TestChargenGoesOn(t *testing.T) {
	var sent int64
	bubble(t, config.ServiceChargen, nil, func(f *fixture) {
		f.client.SetRoom(12345)
		synctest.Wait()
		sent = f.service.(reasoned).Service.(*chargen).sent
	})
	if sent < 12345 {
		t.Fatalf("got %d bytes", sent)
	}
	bubble(t, config.ServiceChargen, func(l *config.Listener, c *session.Config) {
		c.Resume = &session.Resume{Greeted: true, Framing: sent}
		l.Limits.MaxSessionBytes = sent + 1000
	}, func(f *fixture) {
		f.holds(chargenText(int(sent) + 1000)[sent:], true)
		f.client.SendEnd()
		f.ends(session.ByVolume)
	})
}
