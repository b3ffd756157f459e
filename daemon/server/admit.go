package server

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/admission"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/record"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/sockopt"
	"tcpmux/daemon/tlsconn"
)

// gate returns what a client of b has to pass. The rules are for addresses: who may connect to a
// unix socket is for its mode to say.
func (s *Server) gate(b *Binding, peer *sockaddr.Peer) admission.Gate {
	g := admission.Gate{
		Hours:   b.Settings().hours,
		Sources: [2]*admission.Sources{&b.occupancy.sources, &s.sources},
	}
	if !peer.Unix {
		g.Rules = b.occupancy.rules.Load()
	}
	return g
}

// decide decides on a connection. That of a proxy is let in as such: on the proxy's client
// admitProxied decides, once it is known.
func (s *Server) decide(b *Binding, peer sockaddr.Peer) (admission.Pass, admission.Verdict) {
	settings := b.Settings()
	switch {
	case b.occupancy.draining.Load():
		return admission.Pass{}, admission.Draining
	case !settings.proxied():
		g := s.gate(b, &peer)
		return g.Enter(peer.Source(), time.Now())
	case !settings.trusts(peer):
		return admission.Pass{}, admission.Unproxied
	}
	return admission.Pass{}, admission.Admitted
}

// admit decides on a connection, which has a place, and runs a session for one that is let in.
func (s *Server) admit(b *Binding, fd int, sa syscall.Sockaddr) {
	peer, err := sockaddr.Accepted(fd, sa)
	if err == nil && peer.Unix {
		err = sockopt.SetUrgent(fd)
	}
	if err != nil {
		_ = unix.Close(fd) // nothing was read or written
		s.unserved(b, err)
		return
	}
	pass, verdict := s.decide(b, peer)
	if verdict != admission.Admitted {
		s.refuse(b, fd, verdict, peer)
		s.releasePlace(b)
		return
	}
	ss, err := s.newSession(b, fd, peer)
	if err != nil {
		pass.Release()
		s.unserved(b, err)
		return
	}
	s.run(&client{session: ss, binding: b, pass: pass})
}

// unserved gives back the place of a connection that cannot be served.
func (s *Server) unserved(b *Binding, err error) {
	s.releasePlace(b)
	s.env.Log.Error("connection cannot be served", "listener", b.Listener.Name, "err", err)
}

// refuse counts a refused connection and closes it, after the refusal text if the client takes that
// at once.
func (s *Server) refuse(b *Binding, fd int, v admission.Verdict, peer sockaddr.Peer) {
	s.countRefusal(b, v, peer)
	if settings := b.Settings(); settings.TLS == nil { // else the client could not read it
		conn.Refuse(uintptr(fd), settings.Limits.Refusal.Raw)
	}
	_ = unix.Close(fd) // nothing that it says is wanted
}

// admitProxied decides on the client that a proxy speaks for. It is called on the session's
// goroutine.
func (s *Server) admitProxied(ss *session.Session, peer sockaddr.Peer) bool {
	s.mu.Lock()
	c := s.clients[ss]
	s.mu.Unlock()
	g := s.gate(c.binding, &peer)
	pass, verdict := g.Enter(peer.Source(), time.Now())
	if verdict != admission.Admitted {
		s.countRefusal(c.binding, verdict, peer)
		return false
	}
	c.pass = pass
	return true
}

// newSession makes a session for an accepted connection, whose descriptor is the session's from now
// on; after an error it is closed.
func (s *Server) newSession(b *Binding, fd int, peer sockaddr.Peer) (*session.Session, error) {
	cookie, err := SocketCookie(fd)
	if err != nil {
		_ = unix.Close(fd) // nothing was read or written
		return nil, err
	}
	settings := b.Settings()
	c, err := s.connect(settings, fd, false, false)
	if err != nil {
		return nil, err
	}
	cfg := session.Config{
		Source: record.Source{Listener: b.Listener.Name, Session: SessionName(cookie), Remote: peer.String()},
		Unix:   peer.Unix,
		Opened: time.Now(),
		Events: config.Events(s.events.Load()),
	}
	if s.keeper != nil && settings.kept() {
		cfg.Slot, cfg.Keep = s.keeper.Keep(fd, cookie, cfg.Opened, settings.Origin)
	}
	s.complete(&cfg, b, settings, layered(settings, &cfg, c, nil))
	return session.New(cfg), nil
}

// complete fills in what all sessions have.
func (s *Server) complete(cfg *session.Config, b *Binding, settings *Settings, c conn.Conn) {
	cfg.Env, cfg.Settings, cfg.Bounds, cfg.Conn = &s.env, &settings.Settings, &b.bounds, c
	cfg.Counts = b.occupancy.counts
}

// connect returns the connection of a session with these settings, which the previous process has
// served before if it is resumed, and which spoke TLS then if it is secured. After an error the
// descriptor is closed.
func (s *Server) connect(settings *Settings, fd int, resumed, secured bool) (conn.Conn, error) {
	// With TLS this process reads it whatever the model is: a thread waits by the poller too,
	// as poll(2) would call a socket readable that has half a record.
	if settings.TLS != nil || secured || settings.served(resumed) {
		return conn.NewPoll(fd)
	}
	return conn.NewThread(fd, &s.env.Wakeup), nil
}

// layered returns the connection as the session uses it. left is what the previous process has left
// of its TLS, if anything.
func layered(settings *Settings, cfg *session.Config, c conn.Conn, left *tlsconn.Left) conn.Conn {
	if cfg.Keep != nil && cfg.Unix {
		if m := cfg.Keep.Track(); m != nil {
			c = conn.Track(c, m)
		}
	}
	switch {
	case left != nil:
		c = tlsconn.Resume(c, *left)
	case settings.TLS != nil:
		c = tlsconn.New(c)
	}
	if !settings.Ack.Empty() {
		// An acknowledgement does not wait until the client has the one before.
		c.SetNoDelay()
	}
	return c
}

// served reports whether a goroutine of this process reads what the client sends: it sleeps in Go's
// poller. All others leave the connection to a thread, a program or another process.
func (s *Settings) served(resumed bool) bool {
	switch {
	case s.runsProgram():
		return s.Record || resumed
	case s.Proxies():
		return true // and another one what the upstream sends, also of the model "thread"
	}
	return s.Model != "thread" && s.Model != "process"
}

// SessionName returns the name of the session of a connection. No two connections of a machine have
// the same.
func SessionName(cookie uint64) string {
	var name [16 + 1 + 16]byte // so that nothing but the name itself is on the heap
	return string(strconv.AppendUint(append(append(name[:0], bootID()...), '-'), cookie, 16))
}

// bootID is the first half of what the kernel calls this boot.
var bootID = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil { // the unit leaves no /proc/sys to see, and gives it in this way
		id = []byte(os.Getenv("TCPMUX_BOOT_ID"))
	}
	if short := strings.ReplaceAll(string(id), "-", ""); len(short) >= 16 {
		return short[:16]
	}
	return strconv.FormatInt(time.Now().UnixNano(), 16) // at least no two boots share a name
})

// SocketCookie returns the kernel's name for a connection, the same in every process that holds it
// (socket(7), SO_COOKIE).
func SocketCookie(fd int) (uint64, error) {
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("read the connection's cookie: %w", os.NewSyscallError("getsockopt", err))
	}
	return cookie, nil
}
