package handover

import (
	"sync/atomic"
	"time"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/ring"
	"tcpmux/daemon/session"
	"tcpmux/daemon/state"
	"tcpmux/daemon/tlsconn"
)

// connection keeps one connection for the next process. It implements session.Keep.
type connection struct {
	handover *Handover
	slot     *state.Slot
	tls      *state.TLSEntry       // nil: none
	unix     *state.UnixEntry      // nil: none
	pair     *state.PairEntry      // nil: none
	joint    atomic.Pointer[joint] // with an upstream; nil: none
	entry    ring.Entry
	forsaken atomic.Bool // it ends with this process
	shared   bool        // and left the ring, which may still hold it
}

// Survives reports whether the next process could go on with the connection.
func (c *connection) Survives() bool {
	return !c.forsaken.Load() && c.handover.ring.Enlisted(&c.entry) && c.joint.Load().enlisted()
}

// Retire takes the connection out of the ring. It reports whether the ring may hold a duplicate
// for a while, so that the peer would not learn of a close.
func (c *connection) Retire() (shared bool) {
	c.freeTLS()
	c.unix.Free()
	c.unix = nil
	c.pair.Free()
	c.pair = nil
	return c.handover.ring.Retire(&c.entry) || c.shared
}

// Secure implements session.Keep.
func (c *connection) Secure() tlsconn.Memory {
	if c.slot == nil {
		return nil // its offsets would be lost
	}
	c.slot.SetTLS()
	c.tls = c.handover.takeTLS(c.slot.Cookie())
	if c.tls == nil {
		return nil
	}
	return memory{c.tls}
}

// Track implements session.Keep.
func (c *connection) Track() conn.Memory {
	if c.unix == nil && c.slot != nil && !c.forsaken.Load() {
		c.unix = c.handover.takeUnix(c.slot.Cookie())
	}
	if c.unix == nil {
		c.Forsake() // where its stream is would not be known
		return nil
	}
	return c.unix
}

// Forsake implements session.Keep. The connection stays in the ring, where the next process finds
// it after a crash, and records its end; without a slot that would not know.
func (c *connection) Forsake() {
	c.forsaken.Store(true)
	c.freeTLS()
	if c.slot == nil {
		c.shared = c.handover.ring.Retire(&c.entry) || c.shared
		return
	}
	c.slot.SetTLS()
}

func (c *connection) freeTLS() {
	c.tls.Free()
	c.tls = nil
}

// Keep implements server.Keeper: it keeps an accepted connection, once that is old enough. It
// returns nils when none is kept.
func (h *Handover) Keep(fd int, cookie uint64, opened time.Time, origin uint32) (*state.Slot, session.Keep) {
	if h == nil || !h.opt.Config.Survive {
		return nil, nil
	}
	slot := h.state.Take(cookie)
	slot.SetOrigin(origin)
	c := &connection{handover: h, slot: slot}
	h.ring.Add(&c.entry, fd, opened)
	return slot, c
}

// EnlistAll implements server.Keeper: it keeps all connections, however young. With an error some
// are not kept.
func (h *Handover) EnlistAll() error {
	if h == nil {
		return nil
	}
	h.pairs.leaving.Store(true)
	return h.ring.EnlistAll()
}

// Seal implements server.Keeper: it is EnlistAll for the last time.
func (h *Handover) Seal() error {
	if h == nil {
		return nil
	}
	h.pairs.leaving.Store(true)
	return h.ring.Seal()
}

// maintainInterval is the time between two rounds of maintenance of a ring that keeps connections
// of an age.
func maintainInterval(age time.Duration) time.Duration {
	return min(max(age/4, 20*time.Millisecond), time.Second)
}

// maintain keeps the ring in order until Close.
func (h *Handover) maintain(age time.Duration) {
	tick := time.NewTicker(maintainInterval(age))
	defer tick.Stop()
	report := h.roomReporter()
	for {
		select {
		case <-h.closed:
			return
		case now := <-tick.C:
			report(h.ring.Maintain(now))
		}
	}
}

// roomReporter returns a function that logs when connections find no room in the ring, and when
// they do again.
func (h *Handover) roomReporter() func(error) {
	failing := false
	return func(err error) {
		switch {
		case err != nil && !failing:
			h.opt.Log.Warn("clients are there that would end with the daemon", "err", err)
		case err == nil && failing:
			h.opt.Log.Info("all clients outlive the daemon again")
		}
		failing = err != nil
	}
}
