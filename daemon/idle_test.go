package daemon

import (
	"strings"
	"testing"
	"time"

	"tcpmux/config"
)

// idling is a change to the configuration.
func idling(timeout time.Duration) func(*config.Config) {
	return func(cfg *config.Config) { cfg.Listeners[0].IdleTimeout = timeout }
}

func TestTheSilentAreClosed(t *testing.T) {
	for _, c := range []struct {
		name, said string
		want       []string // records
	}{
		{"from the first", "", []string{": idle, 0 records, 0 bytes\n"}},
		{"after a message", "one\n", []string{": one\n", ": idle, 1 records, 4 bytes\n"}},
		{"in the middle of one", "one\nhalf", []string{": one\n", " [timeout]: half\n", ": idle, 2 records, 8 bytes\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, idling(50*time.Millisecond)).open()
			conn := d.greeted()
			conn.say(c.said)
			if rest := conn.hearEnd(); rest != "" {
				t.Errorf("heard %q, want nothing", rest)
			}
			d.records(c.want...)
			if l := d.log.await(t, "session closed"); !strings.Contains(l, " reason=idle ") {
				t.Errorf("log: got %s, want reason=idle", l)
			}
		})
	}
}

func TestTheTalkativeAreNotClosed(t *testing.T) {
	t.Parallel()
	const idle = time.Second
	for range 20 { // a trial in which the machine made us stutter says nothing
		if stuttered := chat(t, idle); !stuttered {
			return
		}
	}
	t.Error("the machine stood still in each of 20 trials: nothing was shown")
}

// chat talks for three times as long as silence is allowed, and says whether there was a silence of half that.
func chat(t *testing.T, idle time.Duration) (stuttered bool) {
	d := newDesk(t, idling(idle)).open()
	conn := d.greeted()
	last := time.Now()
	for began := time.Now(); time.Since(began) < 3*idle; time.Sleep(idle / 20) {
		if time.Since(last) > idle/2 {
			return true
		}
		last = time.Now()
		if _, err := conn.Write([]byte("x\n")); err != nil {
			t.Errorf("client: got %v, want it to be served on", err)
			return false
		}
	}
	n := d.srv.Clients()
	if time.Since(last) > idle/2 {
		return true
	}
	if n != 1 {
		t.Errorf("clients: got %d, want 1; log: %s", n, d.log)
	}
	return false
}

// TestASinkThatFailsMakesNobodyIdle holds that silence which the daemon brought about is not the client's.
func TestASinkThatFailsMakesNobodyIdle(t *testing.T) {
	const idle = 100 * time.Millisecond
	for _, c := range []struct {
		name, more string
		closes     bool
		want       []string
	}{
		{"more had come", "two\nthree\n", false, []string{": one\n", ": two\n", ": three\n", ": idle, 3 records"}},
		{"it had closed", "", true, []string{": one\n", ": eof, 1 records"}},
		{"it had closed behind half a message", "half", true, []string{": one\n", " [eof]: half\n", ": eof, 2 records"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, idling(idle)).open()
			conn := d.greeted()
			d.records(" open from ")
			d.out.fail(errDisk)
			writes := d.out.begun()
			conn.say("one\n")
			eventually(t, func() bool { return d.out.begun() > writes }, func() { t.Error("got no write, want one that fails") })
			conn.say(c.more)
			if c.closes {
				_ = conn.CloseWrite()
			}
			time.Sleep(3 * idle) // a silence that would be too long
			if n := d.srv.Clients(); n != 1 {
				t.Errorf("clients while records cannot be written: got %d, want 1", n)
			}
			d.out.fail(nil)
			d.records(c.want...)
		})
	}
}

func TestWhoConnectsWhileTheSinkFailsIsNotIdle(t *testing.T) {
	const idle = 100 * time.Millisecond
	d := newDesk(t, idling(idle)).open()
	d.out.fail(errDisk)
	conn := d.greeted()
	_ = conn.CloseWrite()
	time.Sleep(3 * idle) // a silence that would be too long
	d.out.fail(nil)
	d.records(" open from "+conn.addr(), ": eof, 0 records")
}
