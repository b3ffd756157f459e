package builtin

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/session"
)

// TestEchoAndDiscard are RFC 862 and RFC 863: what is sent comes back as it is, or nothing does,
// until the client closes; what it has sent before that comes back first.
func TestEchoAndDiscard(t *testing.T) {
	all := new(strings.Builder)
	for i := range 256 {
		all.WriteByte(byte(i))
	}
	for _, c := range []struct {
		name, service, banner string
		send                  []string
		want                  string
	}{
		{"a line", config.ServiceEcho, "", []string{"hello\r\n"}, "hello\r\n"},
		{"pieces", config.ServiceEcho, "", []string{"h", "e", "llo"}, "hello"},
		{"any byte", config.ServiceEcho, "", []string{all.String()}, all.String()},
		{"more than a chunk", config.ServiceEcho, "", []string{strings.Repeat("x", 3*chunkSize+1)}, strings.Repeat("x", 3*chunkSize+1)},
		{"nothing", config.ServiceEcho, "", nil, ""},
		{"behind a banner", config.ServiceEcho, "hi ", []string{"you"}, "hi you"},
		{"a line to nobody", config.ServiceDiscard, "", []string{"hello\r\n"}, ""},
		{"much to nobody", config.ServiceDiscard, "", []string{strings.Repeat("x", 3*chunkSize)}, ""},
		{"a banner, and no more", config.ServiceDiscard, "hi", []string{"you"}, "hi"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, c.service, func(l *config.Listener, _ *session.Config) { l.Banner = config.Text(c.banner) }, func(f *fixture) {
				for _, text := range c.send {
					f.send(text)
				}
				f.holds(c.want, false)
				f.ends("")
				f.client.SendEnd()
				f.holds(c.want, false)
				f.ends(session.ByEOF)
				if n := f.client.Unread(); n != 0 {
					t.Errorf("got %d bytes that were not taken, want none", n)
				}
				if got, want := f.Offset(), int64(len(strings.Join(c.send, ""))); got != want {
					t.Errorf("got offset %d, want %d", got, want)
				}
			})
		})
	}
}

// TestTheEndComesWithTheLastBytes: they come back.
func TestTheEndComesWithTheLastBytes(t *testing.T) {
	bubble(t, config.ServiceEcho, nil, func(f *fixture) {
		f.client.Send("last")
		f.client.SendEnd()
		f.holds("last", false)
		f.ends(session.ByEOF)
	})
}

func TestAClientThatBreaksOff(t *testing.T) {
	for _, service := range []string{config.ServiceEcho, config.ServiceDiscard, config.ServiceChargen, config.ServiceTime} {
		t.Run(service, func(t *testing.T) {
			bubble(t, service, nil, func(f *fixture) {
				f.client.Break(unix.ECONNRESET)
				synctest.Wait()
				time.Sleep(time.Second)
				f.ends(session.ByReset)
			})
		})
	}
}

// TestWhatHasNoRoomStaysInTheSocket, and no buffer is held meanwhile.
func TestWhatHasNoRoomStaysInTheSocket(t *testing.T) {
	bubble(t, config.ServiceEcho, nil, func(f *fixture) {
		f.client.SetRoom(10)
		sent := strings.Repeat("0123456789", 1000)
		f.send(sent)
		f.holds(sent[:10], false)
		if got := f.client.Unread(); got != len(sent)-10 {
			t.Errorf("got %d bytes that wait, want %d", got, len(sent)-10)
		}
		for got := 10; got < len(sent); got = len(f.client.Received()) {
			f.client.SetRoom(997)
			synctest.Wait()
			if now := len(f.client.Received()); now == got {
				t.Fatalf("got %d bytes, and no more", now)
			}
		}
		f.holds(sent, false)
	})
}

// TestAClientThatWaitsTakesNoBuffer, whether it is silent or does not read.
func TestAClientThatWaitsTakesNoBuffer(t *testing.T) {
	bubble(t, config.ServiceEcho, nil, func(f *fixture) {
		f.send("something")
		if f.carrier().chunk != nil {
			t.Error("a silent client: a buffer is held")
		}
		f.send(strings.Repeat("x", burstBytes)) // it pauses
		if f.carrier().chunk != nil {
			t.Error("a client that is too fast: a buffer is held")
		}
	})
}

const burstBytes = int(burst/time.Second) * bytesPerSecond

// TestTheRate is bounded, also of single bytes.
func TestTheRate(t *testing.T) {
	for _, c := range []struct {
		name, service string
		pieces, size  int
		want          time.Duration
	}{
		{"a burst", config.ServiceEcho, burstBytes / chunkSize, chunkSize, 0},
		{"chunks", config.ServiceEcho, 3 * burstBytes / chunkSize, chunkSize, 2 * time.Second},
		{"chunks to nobody", config.ServiceDiscard, 3 * burstBytes / chunkSize, chunkSize, 2 * time.Second},
		{"single bytes", config.ServiceEcho, 5 * burstBytes / leastCost, 1, 4 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, c.service, nil, func(f *fixture) {
				began := time.Now()
				for range c.pieces {
					f.client.Send(strings.Repeat("x", c.size))
					for f.client.Unread() > 0 {
						synctest.Wait()
						if f.client.Unread() > 0 {
							time.Sleep(time.Millisecond)
						}
					}
				}
				if got := time.Since(began); got < c.want-2*leastPause || got > c.want+2*leastPause {
					t.Errorf("it has taken %v, want %v", got, c.want)
				}
			})
		})
	}
}

func TestTheRateOfChargen(t *testing.T) {
	bubble(t, config.ServiceChargen, nil, func(f *fixture) {
		for s := range 4 {
			most := (s + 1) * bytesPerSecond
			if got := len(f.client.Received()); got > most+2*period || got < most-2*period {
				t.Errorf("got %d bytes after %d seconds, want %d", got, s, most)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
	})
}

// TestBounds are those of the service, unless the listener has its own.
func TestBounds(t *testing.T) {
	for _, c := range []struct {
		name, service string
		change        func(*config.Listener)
		talk          func(f *fixture)
		want          session.Reason
		after         time.Duration
	}{
		{"all bytes", config.ServiceEcho, nil, func(f *fixture) { f.client.Send(strings.Repeat("x", 65<<20)) }, session.ByVolume, 63*time.Second + lingering},
		{"all characters", config.ServiceChargen, nil, func(*fixture) {}, session.ByVolume, 63*time.Second + lingering},
		{"own bytes", config.ServiceEcho, func(l *config.Listener) { l.Limits.MaxSessionBytes = 5 }, func(f *fixture) { f.client.Send("123456") }, session.ByVolume, lingering},
		{"own characters", config.ServiceChargen, func(l *config.Listener) { l.Limits.MaxSessionBytes = 5 }, func(*fixture) {}, session.ByVolume, lingering},
		{"an hour", config.ServiceEcho, nil, func(*fixture) {}, session.ByAge, time.Hour},
		{"an hour of one who takes nothing", config.ServiceChargen, nil, func(f *fixture) { f.client.SetRoom(0) }, session.ByAge, time.Hour},
		{"own time", config.ServiceDiscard, func(l *config.Listener) { l.Limits.MaxSession = 2 * time.Hour }, func(*fixture) {}, session.ByAge, 2 * time.Hour},
		{"a silent client", config.ServiceEcho, func(l *config.Listener) { l.IdleTimeout = time.Minute },
			func(f *fixture) { time.Sleep(30 * time.Second); f.send("x") }, session.ByIdle, 90 * time.Second},
		{"one who takes nothing", config.ServiceEcho, func(l *config.Listener) { l.IdleTimeout = time.Minute },
			func(f *fixture) { f.client.SetRoom(0); f.send("x") }, session.ByIdle, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			change := func(l *config.Listener, cfg *session.Config) {
				cfg.Conn.(interface{ SetRoom(int) }).SetRoom(1 << 30)
				if c.change != nil {
					c.change(l)
				}
			}
			bubble(t, c.service, change, func(f *fixture) {
				c.talk(f)
				<-f.ended
				f.ends(c.want)
				if got := time.Since(f.Opened); got < c.after-time.Second || got > c.after+time.Second {
					t.Errorf("it has ended after %v, want %v", got, c.after)
				}
			})
		})
	}
}

// TestAReloadChangesTheBounds of clients that are there, also of one who does not read.
func TestAReloadChangesTheBounds(t *testing.T) {
	for _, room := range []int{0, 1 << 30} {
		t.Run(fmt.Sprint(room), func(t *testing.T) {
			bubble(t, config.ServiceEcho, nil, func(f *fixture) {
				f.client.SetRoom(room)
				f.send("x")
				f.bounds.Store(&session.Bounds{Idle: time.Minute})
				f.Refresh()
				<-f.ended
				f.ends(session.ByIdle)
				if got := time.Since(f.Opened); got > time.Minute+lookAgain {
					t.Errorf("it has ended after %v, want %v", got, time.Minute)
				}
			})
		})
	}
}

// TestJoinedEchoPortsEnd: whatever one sends the other sends back.
func TestJoinedEchoPortsEnd(t *testing.T) {
	for _, size := range []int{1, 15_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				few := func(l *config.Listener, _ *session.Config) { l.Limits.MaxSessionBytes = 20_000 }
				a, b := start(t, config.ServiceEcho, few), start(t, config.ServiceEcho, few)
				a.client.Send(strings.Repeat("x", size))
				join := func(from, to *fixture) {
					taken := 0
					for {
						select {
						case <-from.ended:
							to.client.SendEnd()
							return
						case <-time.After(time.Millisecond):
						}
						got := from.client.Received()
						to.client.Send(got[taken:])
						taken = len(got)
					}
				}
				go join(a, b)
				join(b, a)
				<-a.ended
				<-b.ended
				if a.why() != session.ByVolume && b.why() != session.ByVolume {
					t.Errorf("got %q and %q, want one that was bounded", a.why(), b.why())
				}
			})
		})
	}
}

// TestBoundsOfAListener are those of recorded clients too, which a Recorder serves.
func TestBoundsOfAListener(t *testing.T) {
	own := config.ListenerLimits{Policy: config.Policy{MaxSession: time.Minute, MaxSessionBytes: 7}}
	for _, c := range []struct {
		service string
		limits  config.ListenerLimits
		want    session.Bounds
	}{
		{config.ServiceEcho, config.ListenerLimits{}, session.Bounds{Session: time.Hour, Bytes: 64 << 20}},
		{config.ServiceDiscard, own, session.Bounds{Session: time.Minute, Bytes: 7}},
		{config.ServiceRecord, config.ListenerLimits{}, session.Bounds{}},
	} {
		if got := session.BoundsOf(config.Listener{Service: c.service, Record: true, Limits: c.limits}); *got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.service, *got, c.want)
		}
	}
}
