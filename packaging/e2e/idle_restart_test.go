//go:build e2e

package e2e

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A silence that began before a restart and a kill goes on after them. It is counted from the
// client's last byte, whether that ended a line or not. A client that connects later shows how slow
// this machine is.
func TestSilenceGoesOnWithTheNextDaemon(t *testing.T) {
	const idle = 6 * time.Second
	r := jsonRecords(t, `idle_timeout = "0s"`, `idle_timeout = "6s"`)
	silent := r.throng.join(3)
	r.throng.settled()
	names, texts := []string{"after a line", "in a line", "in a long line"}, []string{"one\n", "one\nhalf", strings.Repeat("x", 20_000)}
	began := time.Now()
	for i, m := range silent {
		if err := m.say(texts[i]); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(idle / 4) // the clients' silence, a part of it
	r.run("systemctl", "restart", "tcpmux.service")
	was := r.mainPID()
	r.kill()
	r.awaitOther(was)
	later := r.throng.join(1)[0]
	if err := later.say("later\n"); err != nil {
		t.Fatal(err)
	}
	laterBegan := time.Now()
	var hearing sync.WaitGroup
	var ends [3]time.Time
	for i, m := range silent {
		hearing.Go(func() { ends[i] = m.ended(t) })
	}
	late := later.ended(t).Sub(laterBegan) - idle
	hearing.Wait()
	for i, name := range names {
		if got, most := ends[i].Sub(began), idle+late+laterBegan.Sub(began)/2; got < idle-idle/100 || got > most {
			t.Errorf("%s: got the end after %v, want after %v, and before %v", name, got, idle, most)
		}
	}
}

// ended is when the client has heard the end of the connection.
func (m *member) ended(t *testing.T) time.Time {
	t.Helper()
	if rest, err := io.ReadAll(m.conn); err != nil || len(rest) > 0 {
		t.Errorf("%s: got %q, %v, want the end", m.name, rest, err)
	}
	defer m.conn.Close()
	return time.Now()
}

const refusal = "one more is too many\n"

// guest connects from an address. It gets the banner, or the refusal text.
func (r *rig) guest(ip net.IP) (conn *net.TCPConn, refused bool) {
	r.t.Helper()
	conn, err := r.net.dialFrom(&net.TCPAddr{IP: ip}, port)
	if err != nil {
		r.t.Fatal(err)
	}
	heard := make([]byte, len(banner))
	n, err := io.ReadFull(conn, heard)
	if err == nil && string(heard) == banner {
		return conn, false
	}
	_ = conn.Close() // it is over
	if string(heard[:n]) != refusal[:min(n, len(refusal))] || n == 0 {
		r.t.Fatalf("got %q, %v, want the banner or the refusal", heard[:n], err)
	}
	return nil, true
}

// A source that has as many clients as allowed still has them after a restart and after a kill, and
// may connect again when one of them leaves.
func TestSourcesCountOnWithTheNextDaemon(t *testing.T) {
	r := installed(t)
	r.edit(toml, `clients_per_source = 0`, `clients_per_source = 2`)
	r.edit(toml, `refusal = ""`, `refusal = "one more is too many\n"`)
	r.run("systemctl", "start", "tcpmux.socket")
	full, other := net.IPv4(127, 0, 0, 2), net.IPv4(127, 0, 0, 3)
	var inside []*net.TCPConn
	for range 2 {
		conn, refused := r.guest(full)
		if refused {
			t.Fatal("got a refusal below the limit")
		}
		inside = append(inside, conn)
	}
	(&throng{r: r}).settled()
	for _, c := range []struct {
		name string
		end  func()
	}{
		{"before", func() {}},
		{"after a restart", func() { r.run("systemctl", "restart", "tcpmux.service") }},
		{"after a kill", func() { was := r.mainPID(); r.kill(); r.awaitOther(was) }},
		{"after another restart", func() { r.run("systemctl", "restart", "tcpmux.service") }},
	} {
		c.end()
		if _, refused := r.guest(full); !refused {
			t.Errorf("%s: got a third client let in, want it refused", c.name)
		}
		conn, refused := r.guest(other)
		if refused {
			t.Fatalf("%s: got a client of another source refused", c.name)
		}
		_ = conn.Close()
	}
	if err := errors.Join(inside[0].CloseWrite(), inside[0].Close()); err != nil {
		t.Error(err)
	}
	r.await("a place for one more", func() bool {
		conn, refused := r.guest(full)
		if !refused {
			inside = append(inside, conn)
		}
		return !refused
	})
	for _, conn := range inside {
		_ = conn.Close()
	}
}
