package handover

import (
	"errors"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/ring"
	"tcpmux/daemon/server"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/state"
	"tcpmux/daemon/systemd"
	"tcpmux/daemon/tlsconn"
)

// A client of a proxy goes on with the connection that the previous process has made with its
// upstream. Both lie in the ring, each with an entry in a file of its own. They are a pair only if
// each entry names the other connection, which is noted when nothing is in between any more: after
// a crash something may have been, so the upstream is closed, and of the client the end is
// recorded.

// pairStore keeps what is to be known of clients of proxies and their upstreams.
type pairStore struct {
	file atomic.Pointer[state.Pairs] // nil: they end with the process
	full atomic.Bool                 // that it has no room is logged
	// The process is about to leave: what is not in the ring by now does not outlive it.
	leaving atomic.Bool
	// What Adopt has found, until it has found all.
	clients   []half
	upstreams map[uint64]half // by their cookies
}

// half is one of two connections, of which the other one may still come.
type half struct {
	fd     int
	cookie uint64
	entry  *state.PairEntry
	c      *connection // of a client
	joint  *joint      // of an upstream
}

// joint keeps the connection with an upstream. It implements session.Joint.
type joint struct {
	of    *connection // its client's
	slot  *state.Slot
	pair  *state.PairEntry
	entry ring.Entry
	mate  uint64 // the cookie of the connection
}

// enlisted reports whether the connection is in the ring; so is that of a nil joint.
func (j *joint) enlisted() bool { return j == nil || j.of.handover.ring.Enlisted(&j.entry) }

// Join implements session.Keep.
func (c *connection) Join(up conn.Conn) session.Joint {
	if c.slot == nil || c.forsaken.Load() {
		return nil
	}
	j := c.handover.newJoint(c, up)
	if j == nil {
		return nil
	}
	// As one of TLS: if nobody can go on with it, then only its end is left to record.
	c.slot.SetTLS()
	h := c.handover
	up.Control(func(fd uintptr) { h.ring.Add(&j.entry, int(fd), time.Now()) })
	if h.pairs.leaving.Load() {
		_ = h.ring.EnlistAll() // whether it has, Survives tells
	}
	c.joint.Store(j)
	return j
}

// newJoint returns what keeps up with a client's connection; nil if there is no room.
func (h *Handover) newJoint(c *connection, up conn.Conn) *joint {
	j := &joint{of: c}
	up.Control(func(fd uintptr) { j.mate, _ = server.SocketCookie(int(fd)) })
	if j.mate == 0 {
		return nil
	}
	c.pair = h.takePair(c.slot.Cookie(), state.Client)
	j.pair = h.takePair(j.mate, state.Upstream)
	j.slot = h.state.Take(j.mate)
	if c.pair == nil || j.pair == nil || j.slot == nil {
		c.pair.Free()
		c.pair = nil
		j.pair.Free()
		j.slot.Free()
		return nil
	}
	// Whatever a process does not know of it, it closes it.
	j.slot.SetClosed()
	return j
}

// Leave implements session.Joint.
func (j *joint) Leave(l session.Left) bool {
	c := j.of
	if !c.Survives() {
		return false
	}
	if !l.Recorded && !shelve(c.slot, l.Offset, l.Moved) || !shelve(j.slot, l.Upstream.Answered, l.Upstream.Moved) {
		return false
	}
	mine, theirs := c.slot.Tally().Offset, j.slot.Tally().Offset
	c.pair.Leave(state.Half{Mate: j.mate, Moved: c.slot.Behind(mine), Ended: l.Ended})
	j.pair.Leave(state.Half{Mate: c.slot.Cookie(), Moved: j.slot.Behind(theirs), Ended: l.Upstream.Ended})
	return true
}

// shelve keeps how far a stream has come, and the next bytes of it. It reports whether all is kept.
func shelve(s *state.Slot, offset int64, moved []byte) bool {
	t := s.Tally()
	t.Offset = offset
	s.Count(t)
	s.Shelve(offset, moved)
	return s.Behind(offset) == len(moved)
}

// Part implements session.Joint.
func (j *joint) Part() {
	j.of.handover.ring.Retire(&j.entry)
	j.pair.Free()
	j.slot.Free()
}

// takePair returns an entry for a connection; nil if there is no room, which is logged once.
func (h *Handover) takePair(cookie uint64, side state.Side) *state.PairEntry {
	f := h.pairs.file.Load()
	e := f.Take(cookie, side)
	if e == nil && f != nil && !h.pairs.full.Swap(true) {
		h.opt.Log.Warn("clients of proxies do not outlive the daemon",
			"reason", "there is no room for more of them: limits.clients was lower when the first one was kept, and a stop and a start make room")
	}
	return e
}

// findHalf keeps a connection that is one of two until all others are known. It returns nil for all
// others.
func (h *Handover) findHalf(fd int, cookie uint64) *ring.Entry {
	f := half{fd: fd, cookie: cookie, entry: h.pairs.file.Load().Find(cookie)}
	switch f.entry.Side() {
	case state.Client:
		f.c = &connection{handover: h, pair: f.entry}
		h.pairs.clients = append(h.pairs.clients, f)
		return &f.c.entry
	case state.Upstream:
		f.joint = &joint{slot: h.state.Find(cookie), pair: f.entry, mate: cookie}
		if h.pairs.upstreams == nil {
			h.pairs.upstreams = make(map[uint64]half)
		}
		h.pairs.upstreams[cookie] = f
		return &f.joint.entry
	}
	f.entry.Free() // it is damaged
	return nil
}

// adoptHalves goes on with the clients of proxies that were left with their upstreams, records the
// end of the others, and closes the upstreams that have no client.
func (h *Handover) adoptHalves(bindings []*server.Binding) {
	for _, f := range h.pairs.clients {
		up := h.mateOf(f)
		alive, err := h.resume(f.c, bindings, f.fd, f.cookie, up)
		h.lament(err)
		if !alive {
			h.ring.Retire(&f.c.entry)
			f.entry.Free()
		}
	}
	for _, u := range h.pairs.upstreams {
		h.lament(u.dismiss(h))
	}
	h.pairs.clients, h.pairs.upstreams = nil, nil
}

// mateOf returns the upstream of a client, which is nobody else's from now on; nil if there is
// none.
func (h *Handover) mateOf(f half) *half {
	u, found := h.pairs.upstreams[f.entry.Half().Mate]
	if !found || !state.Mates(f.entry, u.entry) {
		return nil
	}
	delete(h.pairs.upstreams, u.cookie)
	return &u
}

// dismiss ends the connection with an upstream that has no client. It does nothing to a nil half.
func (u *half) dismiss(h *Handover) error {
	if u == nil {
		return nil
	}
	u.joint.of = &connection{handover: h}
	conn.HangUp(uintptr(u.fd))
	u.joint.Part()
	return unix.Close(u.fd)
}

// fateOfPair returns how a session with settings goes on with a client and its upstream as they
// were left. It reports false if it cannot.
func fateOfPair(c *connection, up *half, settings *server.Settings, k *kernelState, left *tlsLeft, name state.Named) (f fate, sound bool) {
	if !settings.Proxies() || k.unix && k.entry == nil || !whole(c.slot, c.pair) || !whole(up.joint.slot, up.entry) {
		return f, false
	}
	if k.tls == tlsconn.Encrypting { // then it is known what was taken from the socket
		offset := c.slot.Tally().Offset
		taken := nameInTLS(name) + offset + int64(c.slot.Behind(offset))
		return goesOnTLS, left.sound && left.entry.Consumed() == taken
	}
	return goesOn, settings.TLS == nil && k.tls == tlsconn.Clear && left.entry == nil
}

// whole reports whether what is out of the socket of a connection was kept, and can be read: the
// stream would go on behind a gap.
func whole(s *state.Slot, e *state.PairEntry) bool {
	offset, moved := s.Tally().Offset, e.Half().Moved
	if s == nil || s.Behind(offset) != moved {
		return false
	}
	kept, _ := s.Shelf(offset + int64(moved))
	return len(kept) == moved
}

// lostUpstream reports whether a client has an upstream no more, without which nobody can serve it:
// it was joined with one, or may have been.
func lostUpstream(c *connection, settings *server.Settings, slot *state.Slot, k *kernelState, left *tlsLeft, name state.Named) bool {
	if c.pair != nil {
		return true
	}
	consumed := k.consumed
	_, header := slot.Client()
	switch {
	case k.tls == tlsconn.Encrypting: // a header comes before it
		consumed = left.entry.Consumed() - nameInTLS(name)
	case settings.TLS != nil: // nothing of the stream was taken, or it is lost in any case
		return false
	case name.Size == 0: // else it is passed
		consumed -= int64(header)
	}
	return settings.Proxies() && consumed > 0
}

// stranger reports whether a connection may be one with an upstream of which nothing is known any
// more: it has come to none of the listeners.
func (h *Handover) stranger(bindings []*server.Binding, local sockaddr.Local) bool {
	return hasProxies(h.opt.Config) && !slices.ContainsFunc(bindings, func(b *server.Binding) bool {
		return closeness(b.Listener.Addr, local) > 0
	})
}

// join has a session go on with the upstream of its client, if that is not nil. A process that is
// killed from now on ends both.
func (c *connection) join(r *server.Resumed, up *half) error {
	if up == nil {
		return nil
	}
	mine, theirs, j := c.pair.Half(), up.entry.Half(), up.joint
	c.pair.Join()
	up.entry.Join()
	address, err := upstreamAddress(up.fd)
	if err != nil {
		return errors.Join(err, up.dismiss(c.handover))
	}
	poll, err := conn.NewPoll(up.fd) // which it closes otherwise
	j.of = c
	if err != nil {
		j.Part()
		return err
	}
	c.joint.Store(j)
	answered := j.slot.Tally().Offset
	moved, _ := j.slot.Shelf(answered + int64(theirs.Moved))
	r.Config.Upstream = &session.Upstream{
		Conn: poll, Address: address, Joint: j, Ended: mine.Ended,
		LeftUpstream: session.LeftUpstream{Answered: answered, Moved: moved, Ended: theirs.Ended},
	}
	return nil
}

// upstreamAddress returns the address of an upstream as the process had it that has connected.
func upstreamAddress(fd int) (string, error) {
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return "", os.NewSyscallError("getsockopt", err)
	}
	if family != unix.AF_UNIX {
		addr, err := peerName(fd)
		return addr.String(), err
	}
	sa, err := unix.Getpeername(fd)
	if name, ok := sa.(*unix.SockaddrUnix); ok && err == nil {
		return config.UnixScheme + name.Name, nil
	}
	return config.UnixScheme, nil // it has gone, and the session will find out
}

// openPairs opens what the previous process has left of clients of proxies.
func (h *Handover) openPairs() error {
	var left *state.Pairs
	_, err := h.openStored(systemd.PairsName, "clients of proxies are lost", func(fd int) (err error) {
		left, err = state.OpenPairs(fd)
		return err
	})
	h.pairs.file.Store(left)
	return err
}

// makePairs makes room for what is to be known of clients of proxies, if cfg has such listeners.
func (h *Handover) makePairs(cfg config.Config) {
	if h.pairs.file.Load() != nil || !hasProxies(cfg) {
		return
	}
	if err := h.storePairs(cfg.Limits.Clients); err != nil {
		h.opt.Log.Warn("clients of proxies do not outlive the daemon", "err", err)
	}
}

// storePairs makes the file, and has it stored if the ring is.
func (h *Handover) storePairs(clients int) error {
	f, err := state.NewPairs(2 * roomFor(clients))
	if err != nil {
		return err
	}
	if err := h.storeAnew(systemd.PairsName, f.FD()); err != nil {
		return errors.Join(err, f.Close())
	}
	h.pairs.file.Store(f)
	return nil
}

// hasProxies reports whether cfg has listeners that are proxies.
func hasProxies(cfg config.Config) bool {
	return slices.ContainsFunc(cfg.Listeners, func(l config.Listener) bool { return l.Proxies() })
}
