package daemon

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
)

// bounding is a change of what a client may take of the first listener.
func bounding(change func(*config.Policy)) func(*config.Config) {
	return func(cfg *config.Config) { change(&cfg.Listeners[0].Limits.Policy) }
}

func TestBoundsOfASession(t *testing.T) {
	const soon = 50 * time.Millisecond
	long := strings.Repeat("x", moveSize+1)
	for _, c := range []struct {
		name   string
		change func(*config.Policy)
		said   string
		want   []string // records
		reason string
	}{
		{"age", func(p *config.Policy) { p.MaxSession = soon }, "", []string{": age, 0 records, 0 bytes\n"}, "age"},
		{"age in the middle of a message", func(p *config.Policy) { p.MaxSession = soon }, "one\nhalf", []string{": one\n", " [timeout]: half\n", ": age, 2 records, 8 bytes\n"}, "age"},
		{"a slow message", func(p *config.Policy) { p.MessageTimeout = soon }, "one\nhalf", []string{": one\n", " [timeout]: half\n", ": slow, 2 records, 8 bytes\n"}, "slow"},
		{"a slow long message", func(p *config.Policy) { p.MessageTimeout = soon }, long, []string{" [timeout]: " + long + "\n", ": slow, 1 records, 16385 bytes\n"}, "slow"},
		{"volume at a message's end", func(p *config.Policy) { p.MaxSessionBytes = 4 }, "one\ntwo\n", []string{": one\n", ": volume, 1 records, 4 bytes\n"}, "volume"},
		{"volume in the middle of a message", func(p *config.Policy) { p.MaxSessionBytes = 6 }, "one\ntwo\n", []string{": one\n", " [timeout]: tw\n", ": volume, 2 records, 6 bytes\n"}, "volume"},
		{"volume of a long message", func(p *config.Policy) { p.MaxSessionBytes = moveSize }, long, []string{" [timeout]: " + long[1:] + "\n", ": volume, 1 records, 16384 bytes\n"}, "volume"},
		{"volume of one look", func(p *config.Policy) { p.MaxSessionBytes = readSize }, strings.Repeat("x\n", readSize), []string{": volume, 32768 records, 65536 bytes\n"}, "volume"},
		{"volume of several looks", func(p *config.Policy) { p.MaxSessionBytes = 2*readSize + 3 }, strings.Repeat("x\n", 2*readSize), []string{" [timeout]: x\n", ": volume, 65538 records, 131075 bytes\n"}, "volume"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, bounding(c.change)).open()
			conn := d.greeted()
			_, _ = conn.Write([]byte(c.said)) // it may be broken off
			d.records(c.want...)
			if l := d.log.await(t, "session closed"); !strings.Contains(l, " reason="+c.reason+" ") {
				t.Errorf("log: got %s, want reason=%s", l, c.reason)
			}
		})
	}
}

// TestATricklerIsSlow: a byte now and then keeps nobody in who does not come to the end of a message.
func TestATricklerIsSlow(t *testing.T) {
	d := newDesk(t, func(cfg *config.Config) {
		cfg.Listeners[0].IdleTimeout = patience
		cfg.Listeners[0].Limits.MessageTimeout = 100 * time.Millisecond
	}).open()
	conn := d.greeted()
	for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(time.Millisecond) {
		if _, err := conn.Write([]byte("x")); err != nil {
			break
		}
	}
	d.records(" [timeout]: xx", ": slow, 1 records, ")
}

// TestWhoIsBetweenMessagesIsNotSlow, however long.
func TestWhoIsBetweenMessagesIsNotSlow(t *testing.T) {
	for range 20 { // a trial in which the machine stood still within a message says nothing
		if pauses(t, 50*time.Millisecond) {
			return
		}
	}
	t.Error("got closed in each of 20 trials, want one without")
}

// pauses for longer than a message may take, between messages, and says whether the client was served throughout.
func pauses(t *testing.T, timeout time.Duration) bool {
	d := newDesk(t, bounding(func(p *config.Policy) { p.MessageTimeout = timeout })).open()
	conn := d.greeted()
	for range 2 {
		_, _ = conn.Write([]byte("on")) // it may be closed
		if !d.seesHalf(len("on")) {
			return false
		}
		_, _ = conn.Write([]byte("e\n"))
		time.Sleep(3 * timeout) // a silence that would be too long
	}
	return d.srv.Clients() == 1
}

// seesHalf waits until the one client's session waits for what follows n bytes of a message; false when it has ended.
func (d *desk) seesHalf(n int) bool {
	d.t.Helper()
	got := 0
	eventually(d.t, func() bool {
		for _, s := range d.sessions() {
			s.model.control(func(fd uintptr) { got, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT) })
		}
		return got == n+1 || d.srv.Clients() == 0
	}, func() { d.t.Errorf("SO_RCVLOWAT: got %d, want %d", got, n+1) })
	return got == n+1
}

func (d *desk) sessions() (all []*session) {
	d.srv.mu.Lock()
	defer d.srv.mu.Unlock()
	for s := range d.srv.sessions {
		all = append(all, s)
	}
	return all
}

// TestASinkThatFailsMakesNobodySlow: the end of the message had come.
func TestASinkThatFailsMakesNobodySlow(t *testing.T) {
	const timeout = 100 * time.Millisecond
	d := newDesk(t, bounding(func(p *config.Policy) { p.MessageTimeout = timeout })).open()
	conn := d.greeted()
	d.records(" open from ")
	d.out.fail(errDisk)
	writes := d.out.begun()
	conn.say("one\nhalf")
	eventually(t, func() bool { return d.out.begun() > writes }, func() { t.Error("got no write, want one that fails") })
	conn.say(" a line\n")
	time.Sleep(3 * timeout) // what would be too slow
	d.out.fail(nil)
	d.records(": one\n", ": half a line\n")
	if n := d.srv.Clients(); n != 1 {
		t.Errorf("clients: got %d, want 1; records: %s", n, d.out)
	}
}

// TestTheLastInstantCounts: what has come when the time of a message is over may be its end.
func TestTheLastInstantCounts(t *testing.T) {
	for _, c := range []struct {
		name, end, want string
		why             reason
	}{
		{"the end", " a line\n", ": half a line\n", ""},
		{"no end", " a line", " [timeout]: half a line\n", bySlow},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, func(cfg *config.Config) {
				cfg.Listeners[0].Model = "goroutine"
				cfg.Listeners[0].Limits.MessageTimeout = time.Hour
			})
			conn := d.client()
			conn.say("half" + c.end)
			talk := d.accepted().model.(*talk)
			eventually(t, func() bool { return talk.unread() == len("half"+c.end) }, func() { t.Errorf("unread: got %d bytes", talk.unread()) })
			talk.heard, talk.begun, talk.waiting = time.Now(), longAgo, len("half")
			if why := talk.woken(); why != c.why {
				t.Errorf("over: got %q, want %q", why, c.why)
			}
			d.records(c.want)
		})
	}
}

// accepted is the session of a client who has connected; nobody serves it.
func (d *desk) accepted() (s *session) {
	d.t.Helper()
	if err := d.ln.control(func(fd int) error {
		conn, peer, err := accept4(fd)
		for ; err == unix.EAGAIN; conn, peer, err = accept4(fd) {
			time.Sleep(time.Millisecond)
		}
		if err != nil {
			return err
		}
		s, err = newSession(d.srv, d.ln, conn, addrPort(syscall.Sockaddr(peer)))
		return err
	}); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(s.model.close)
	return s
}

func TestAReloadBringsBoundsToThoseWhoAreIn(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config.Policy)
		want   string
	}{
		{"max_session", func(p *config.Policy) { p.MaxSession = time.Millisecond }, "reason=age"},
		{"message_timeout", func(p *config.Policy) { p.MessageTimeout = time.Millisecond }, "reason=slow"},
		{"max_session_bytes", func(p *config.Policy) { p.MaxSessionBytes = 5 }, "reason=volume"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := runReloadable(t, func(cfg *config.Config) { cfg.Listeners[0].Banner = config.Text("hello\n") })
			conn := r.dial()
			greeting(t, conn)
			if _, err := conn.Write([]byte("half")); err != nil {
				t.Fatal(err)
			}
			r.reload(func(cfg *config.Config) error { c.change(&cfg.Listeners[0].Limits.Policy); return nil })
			_, _ = conn.Write([]byte("and more")) // it may be closed by now
			eventually(t, func() bool { return strings.Contains(r.log.String(), c.want) }, func() {
				t.Errorf("log: got %s, want %s", r.log, c.want)
			})
		})
	}
}
