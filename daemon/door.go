package daemon

import (
	"log/slog"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/admission"
)

// door is what the sockets of one listener have in common: the places and the counts of its clients.
type door struct {
	slots   *slots
	sources admission.Sources
	rules   atomic.Pointer[admission.Rules]
}

func newDoor() *door { return &door{slots: newSlots(math.MaxInt)} }

// configure makes l what holds from now on.
func (d *door) configure(l config.ListenerLimits, prefix config.SourcePrefix) {
	limit := l.Clients
	if limit == 0 {
		limit = math.MaxInt
	}
	d.slots.resize(limit)
	d.sources.Configure(sourceLimits(l.PerSource, prefix))
}

func sourceLimits(l config.PerSource, prefix config.SourcePrefix) admission.Limits {
	return admission.Limits{
		Clients: l.ClientsPerSource,
		Rate:    admission.Rate{Count: l.RatePerSource.Count, Per: l.RatePerSource.Per},
		IPv4:    prefix.IPv4,
		IPv6:    prefix.IPv6,
	}
}

// configure makes the limits of cfg what holds from now on, for the server and the doors of lns, with the rules that they name.
func (s *Server) configure(cfg config.Config, lns []*listener, files rulesFiles) {
	s.slots.resize(s.affordable(cfg))
	s.spare.keep()
	s.partials.resize(cfg.Limits.Memory)
	s.prefix = cfg.Limits.SourcePrefix
	s.sources.Configure(sourceLimits(cfg.Limits.PerSource, cfg.Limits.SourcePrefix))
	for _, ln := range lns {
		limits := ln.settings.Load().Limits
		ln.door.configure(limits, cfg.Limits.SourcePrefix)
		ln.door.rules.Store(files.of(limits.Policy))
	}
}

// hoursOf are when a listener lets clients in.
func hoursOf(list []config.Window) (h admission.Hours) {
	for _, w := range list {
		h = append(h, admission.Window{Days: w.Days, From: w.From, To: w.To})
	}
	return h
}

// gate is what a client of ln has to pass.
func (s *Server) gate(ln *listener) admission.Gate {
	return admission.Gate{Rules: ln.door.rules.Load(), Hours: ln.settings.Load().hours, Sources: [2]*admission.Sources{&ln.door.sources, &s.sources}}
}

// takePlace takes a place for a client of ln, or returns the places of which there is none.
func (s *Server) takePlace(ln *listener) (full *slots) {
	if !ln.door.slots.take() {
		return ln.door.slots
	}
	if !s.slots.take() {
		ln.door.slots.release()
		return s.slots
	}
	return nil
}

func (s *Server) releasePlace(ln *listener) {
	s.slots.release()
	ln.door.slots.release()
}

// decide decides on a connection. One of a proxy is let in as such: the proxy's client is decided on once it is known.
func (s *Server) decide(ln *listener, addr netip.Addr) (admission.Pass, admission.Verdict) {
	settings := ln.settings.Load()
	switch {
	case !settings.proxied():
		return s.gate(ln).Enter(addr, time.Now())
	case !settings.trusts(addr):
		return admission.Pass{}, admission.Unproxied
	}
	return admission.Pass{}, admission.Admitted
}

// admit decides on a connection, and starts a session for one that is let in; a place has been taken for it.
func (s *Server) admit(ln *listener, fd int, peer syscall.Sockaddr) {
	remote := addrPort(peer)
	pass, verdict := s.decide(ln, remote.Addr())
	if verdict != admission.Admitted {
		s.refusals.add(verdict, remote)
		refuse(fd, ln.settings.Load().Limits.Refusal.Raw)
		s.releasePlace(ln)
		return
	}
	c, err := newSession(s, ln, fd, remote)
	if err != nil {
		pass.Release()
		s.releasePlace(ln)
		s.log.Error("connection cannot be served", "listener", ln.name, "err", err)
		return
	}
	c.pass = pass
	s.start(c)
}

// seat takes a place for a client of the process before, even if there is none.
func (s *Server) seat(c *session) {
	s.slots.seat()
	c.listener.door.slots.seat()
}

// readmit takes a place for a client of the process before and counts it, whatever the limits say now.
func (s *Server) readmit(c *session, addr netip.Addr) {
	s.seat(c)
	c.pass = s.gate(c.listener).Return(addr)
}

// refuse closes a connection, after telling the client text if it takes it at once. What it has said is thrown away first, as a
// close would otherwise take the text back (RFC 1122, 4.2.2.13).
func refuse(fd int, text string) {
	tellRefused(fd, text)
	_ = unix.Close(fd) // nothing of it is wanted
}

func tellRefused(fd int, text string) {
	if text == "" {
		return
	}
	_, _ = unix.Write(fd, []byte(text))           // it fails when the client has gone, or takes nothing at once
	_ = unix.Shutdown(fd, unix.SHUT_WR)           // as it does then
	_ = discard(uintptr(fd), unread(uintptr(fd))) // and so does this
}

// refusals count who was refused, by verdict. Safe for concurrent use.
type refusals struct {
	mu    sync.Mutex
	all   [admission.Verdicts]int64
	told  [admission.Verdicts]int64 // of these
	last  netip.AddrPort
	when  time.Time // it was told
	since time.Time // the first that was not told
}

func (r *refusals) add(v admission.Verdict, remote netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() {
		r.since = time.Now()
	}
	r.all[v]++
	r.last = remote
}

// tell tells in one line of those who have been refused since the last time, unless that was short of an interval ago.
func (r *refusals) tell(log *slog.Logger, interval time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() || time.Since(r.when) < interval {
		return
	}
	var attrs []any
	for v := range r.all {
		if n := r.all[v] - r.told[v]; n > 0 {
			attrs = append(attrs, admission.Verdict(v).String(), n)
		}
	}
	log.Warn("clients refused", append(attrs, "last", r.last.String(), "duration", time.Since(r.since).Round(time.Millisecond))...)
	r.told, r.when, r.since = r.all, time.Now(), time.Time{}
}

// count is how many were refused.
func (r *refusals) count() (n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.all {
		n += v
	}
	return n
}
