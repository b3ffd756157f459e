package server

import (
	"fmt"
	"net/netip"
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
	"tcpmux/daemon/tlsconn"
)

// gate returns what a client of b has to pass.
func (s *Server) gate(b *Binding) admission.Gate {
	return admission.Gate{
		Rules:   b.occupancy.rules.Load(),
		Hours:   b.Settings().hours,
		Sources: [2]*admission.Sources{&b.occupancy.sources, &s.sources},
	}
}

// decide decides on a connection. That of a proxy is let in as such: on the proxy's client
// admitProxied decides, once it is known.
func (s *Server) decide(b *Binding, addr netip.Addr) (admission.Pass, admission.Verdict) {
	settings := b.Settings()
	switch {
	case b.occupancy.draining.Load():
		return admission.Pass{}, admission.Draining
	case !settings.proxied():
		return s.gate(b).Enter(addr, time.Now())
	case !settings.trusts(addr):
		return admission.Pass{}, admission.Unproxied
	}
	return admission.Pass{}, admission.Admitted
}

// admit decides on a connection, which has a place, and runs a session for one that is let in.
func (s *Server) admit(b *Binding, fd int, peer syscall.Sockaddr) {
	remote := sockaddr.From(peer)
	pass, verdict := s.decide(b, remote.Addr())
	if verdict != admission.Admitted {
		s.refuse(b, fd, verdict, remote)
		s.releasePlace(b)
		return
	}
	ss, err := s.newSession(b, fd, remote)
	if err != nil {
		pass.Release()
		s.releasePlace(b)
		s.env.Log.Error("connection cannot be served", "listener", b.Listener.Name, "err", err)
		return
	}
	s.run(&client{session: ss, binding: b, pass: pass})
}

// refuse counts a refused connection and closes it, after the refusal text if the client takes that
// at once.
func (s *Server) refuse(b *Binding, fd int, v admission.Verdict, remote netip.AddrPort) {
	s.countRefusal(b, v, remote)
	if settings := b.Settings(); settings.TLS == nil { // else the client could not read it
		conn.Refuse(uintptr(fd), settings.Limits.Refusal.Raw)
	}
	_ = unix.Close(fd) // nothing that it says is wanted
}

// admitProxied decides on the client that a proxy speaks for. It is called on the session's
// goroutine.
func (s *Server) admitProxied(ss *session.Session, addr netip.AddrPort) bool {
	s.mu.Lock()
	c := s.clients[ss]
	s.mu.Unlock()
	pass, verdict := s.gate(c.binding).Enter(addr.Addr(), time.Now())
	if verdict != admission.Admitted {
		s.countRefusal(c.binding, verdict, addr)
		return false
	}
	c.pass = pass
	return true
}

// newSession makes a session for an accepted connection, whose descriptor is the session's from now
// on; after an error it is closed.
func (s *Server) newSession(b *Binding, fd int, remote netip.AddrPort) (*session.Session, error) {
	cookie, err := SocketCookie(fd)
	if err != nil {
		_ = unix.Close(fd) // nothing was read or written
		return nil, err
	}
	settings := b.Settings()
	c, err := s.connect(settings, fd, false, nil)
	if err != nil {
		return nil, err
	}
	cfg := session.Config{
		Source: record.Source{Listener: b.Listener.Name, Session: SessionName(cookie), Remote: remote.String()},
		Peer:   remote,
		Opened: time.Now(),
		Events: config.Events(s.events.Load()),
	}
	if s.keeper != nil && settings.kept() {
		cfg.Slot, cfg.Keep = s.keeper.Keep(fd, cookie, cfg.Opened, settings.Origin)
	}
	return session.New(s.complete(cfg, b, settings, c)), nil
}

// complete fills in what all sessions have.
func (s *Server) complete(cfg session.Config, b *Binding, settings *Settings, c conn.Conn) session.Config {
	cfg.Env, cfg.Settings, cfg.Bounds, cfg.Conn = &s.env, &settings.Settings, &b.bounds, c
	cfg.Counts = b.occupancy.counts
	return cfg
}

// connect returns the connection of a session with these settings, which the previous process has
// served before if it is resumed, and has left TLS of if left is not nil. After an error the
// descriptor is closed.
func (s *Server) connect(settings *Settings, fd int, resumed bool, left *tlsconn.Left) (c conn.Conn, err error) {
	// With TLS this process reads it whatever the model is: a thread waits by the poller too, as
	// poll(2) would call a socket readable that has half a record.
	if settings.TLS != nil || left != nil || settings.served(resumed) {
		c, err = conn.NewPoll(fd)
	} else {
		c = conn.NewThread(fd, &s.env.Wakeup)
	}
	switch {
	case err != nil:
	case left != nil:
		c = tlsconn.Resume(c, *left)
	case settings.TLS != nil:
		c = tlsconn.New(c)
	}
	if err == nil && !settings.Ack.Empty() {
		// An acknowledgement does not wait until the client has the one before.
		c.SetNoDelay()
	}
	return c, err
}

// served reports whether a goroutine of this process reads what the client sends: it sleeps in Go's
// poller. All others leave the connection to a thread, a program or another process.
func (s *Settings) served(resumed bool) bool {
	if s.runsProgram() {
		return s.Record || resumed
	}
	return s.Model != "thread" && s.Model != "process"
}

// SessionName returns the name of the session of a connection. No two connections of a machine have
// the same.
func SessionName(cookie uint64) string {
	return bootID() + "-" + strconv.FormatUint(cookie, 16)
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
