package relay

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/daemon/conn/conntest"
	"tcpmux/daemon/session"
	"tcpmux/daemon/upstream"
)

// inMemory runs a test of a pair in a bubble of its own. ended is sent why serve has returned, and
// when.
func inMemory(t *testing.T, b session.Bounds, test func(t *testing.T, p *pair, client, server *conntest.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		var bounds atomic.Pointer[session.Bounds]
		bounds.Store(&b)
		client, server := conntest.New(), conntest.New()
		s := session.New(session.Config{Settings: &session.Settings{}, Bounds: &bounds, Conn: client, Opened: time.Now()})
		p := newPair(s, upstream.Conn{Conn: server, Address: "upstream"})
		p.check()
		test(t, p, client, server)
		p.end(session.ByKill)
		synctest.Wait()
	})
}

// TestIdleIsBothWays: who listens is not idle, and who waits for room is.
func TestIdleIsBothWays(t *testing.T) {
	inMemory(t, session.Bounds{Idle: time.Minute}, func(t *testing.T, p *pair, client, server *conntest.Conn) {
		began := time.Now()
		go func() {
			for range 10 {
				time.Sleep(50 * time.Second)
				server.Send("x")
			}
			synctest.Wait()
			client.SetRoom(0)
			server.Send("this is not taken")
		}()
		why, err := p.serve(nil)
		if took := time.Since(began); why != session.ByIdle || err != nil || took != 560*time.Second {
			t.Errorf("got %v, %v after %v, want %v after 9m20s", why, err, took, session.ByIdle)
		}
		if got := client.Received(); got != "xxxxxxxxxx" {
			t.Errorf("got %q", got)
		}
	})
}

// TestAChangeOfBoundsApplies to a session that has begun.
func TestAChangeOfBoundsApplies(t *testing.T) {
	inMemory(t, session.Bounds{}, func(t *testing.T, p *pair, _, _ *conntest.Conn) {
		began := time.Now()
		go func() {
			time.Sleep(time.Hour)
			p.s.Bounds.Store(&session.Bounds{Session: 2 * time.Hour})
			p.check()
		}()
		if why, _ := p.serve(nil); why != session.ByAge || time.Since(began) != 2*time.Hour {
			t.Errorf("got %v after %v, want %v after 2h", why, time.Since(began), session.ByAge)
		}
	})
}

// TestAKillCarriesWhatHasCome, as far as there is room.
func TestAKillCarriesWhatHasCome(t *testing.T) {
	inMemory(t, session.Bounds{}, func(t *testing.T, p *pair, client, server *conntest.Conn) {
		server.SetRoom(4)
		client.Send("0123456789")
		go func() {
			time.Sleep(time.Second)
			server.SetRoom(2)
			p.end(session.ByKill)
		}()
		if why, _ := p.serve(nil); why != session.ByKill {
			t.Errorf("got %v, want %v", why, session.ByKill)
		}
		if got := server.Received(); got != "012345" && got != "0123" {
			t.Errorf("got %q", got)
		}
	})
}
