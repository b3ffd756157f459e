package handover

import (
	"errors"
	"net/netip"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/ring"
	"tcpmux/daemon/server"
	"tcpmux/daemon/session"
	"tcpmux/daemon/state"
)

// How many processes in a row may end while they are busy with the same bytes of a client: by a
// panic over them, or in any way. A kill from outside is not the client's fault, and finds a
// session busy that has a long message.
const (
	maxPanics  = 3
	maxCrashes = 12
)

// adopt goes on with all connections in the ring.
func (h *Handover) adopt(bindings []*server.Binding) error {
	return h.ring.Adopt(func(fd int, cookie uint64) *ring.Entry {
		c, err := h.resume(bindings, fd, cookie)
		if err != nil {
			h.opt.Log.Error("connection cannot be served on", "err", err)
		}
		if c == nil || err != nil {
			return nil
		}
		return &c.entry
	})
}

// resume has the server go on with a connection of the previous process. The descriptor is the
// session's from now on, or closed when nothing is left to go on with: then it returns nil.
func (h *Handover) resume(bindings []*server.Binding, fd int, cookie uint64) (*connection, error) {
	slot := h.state.Find(cookie)
	left := h.findTLS(slot, cookie)
	k, err := h.kernel(fd)
	if err != nil || slot.Closed() || slot == nil && k.over {
		// Its end was recorded, or it is no connection.
		return nil, errors.Join(err, dismiss(fd, slot, &left))
	}
	from := h.originOf(slot, bindings, k.local)
	c := &connection{handover: h, slot: slot, tls: left.entry}
	r := server.Resumed{Binding: from.binding, Settings: from.settings, Events: from.events, FD: fd, Client: k.remote}
	r.Config = session.Config{
		Source:      record.Source{Listener: from.settings.Name, Session: server.SessionName(cookie), Remote: k.remote.String()},
		Peer:        k.remote,
		Opened:      time.Now(),
		Persistence: session.Persistence{Slot: slot, Keep: c, Killed: slot.Killed(), Staged: true},
	}
	switch fateOf(from.settings, slot, &k, &left) {
	case goesOn:
		h.goOn(&r, &k, slot)
	case goesOnTLS:
		h.goOnTLS(&r, &k, slot, &left)
	case beginsAnew:
		r.Config.Staged = false
	case endsByLoss:
		endTLS(&r, &k, slot, &left)
	case vanishes:
		return nil, dismiss(fd, slot, &left)
	}
	if err := h.opt.Server.Resume(r); err != nil {
		return nil, err
	}
	return c, nil
}

// goOn has a session in clear text go on, or begin with its PROXY header.
func (h *Handover) goOn(r *server.Resumed, k *kernelState, slot *state.Slot) {
	if !passProxyHeader(r, k, slot) {
		r.Config.Staged = false
		return
	}
	k.skip(r.FD, slot.Tally().Offset)
	restore(&r.Config, *k, slot, r.Events)
}

// passProxyHeader reports whether the session is past its PROXY header, or has none. The header
// is then none of the bytes that the client has sent, and its source is the proxy's client.
func passProxyHeader(r *server.Resumed, k *kernelState, slot *state.Slot) bool {
	client, size := slot.Client()
	if size == 0 || k.consumed < int64(size) {
		return len(r.Settings.ProxyProtocol) == 0 || k.consumed > 0
	}
	k.consumed -= int64(size)
	if client.IsValid() {
		nameClient(r, client)
	}
	return true
}

// nameClient has records be from the client that a PROXY header has named.
func nameClient(r *server.Resumed, client netip.AddrPort) {
	s := &r.Config.Source
	s.Remote, s.Proxy = client.String(), s.Remote
	r.Client = client
}

// restore has a session begin where that of the previous process was.
func restore(c *session.Config, k kernelState, slot *state.Slot, events config.Events) {
	tally, written := slot.Tally(), slot.Written()
	c.Resume = &session.Resume{
		Greeted: k.greeted,
		Opened:  !slot.Opened().IsZero() || slot == nil && (k.consumed > 0 || events != config.EventsOnData),
		Heard:   k.heard,
		Unread:  k.unread,
		Offset:  k.consumed,
		Records: tally.Records,
		Written: written.Offset,
		Cut:     written.Offset,
		Counted: tally.Offset,
		Framing: tally.Framing,
	}
	if k.reset && tally.Offset == k.consumed-1 {
		// What was counted last is the end of the stream, not a byte.
		c.Resume.Offset = tally.Offset
	}
	if at := slot.Began(); !at.IsZero() { // from here on by the monotonic clock
		c.Opened = time.Now().Add(-max(time.Since(at), 0))
	}
	if written.Offset > tally.Offset {
		c.Resume.Records, c.Resume.Counted = written.Records, written.Offset
	}
	if moved, base := slot.Shelf(c.Resume.Offset); moved != nil {
		c.Resume.Offset, c.Resume.Moved = base, moved
	}
	if tally.Framing != 0 { // else no message is under way, whatever an older version has left
		c.Resume.Pieces = tally.Pieces
	}
	if crashLoop(slot) {
		endAt(c.Resume, session.BySuspect)
	}
}

// endAt has a session end with the process before: it is closed as having come to what is recorded.
func endAt(r *session.Resume, why session.Reason) {
	r.Ended = why
	r.Offset = max(r.Offset, r.Written)
}

// crashLoop counts the end of the previous process, and reports whether process after process has
// died over the connection.
func crashLoop(slot *state.Slot) bool {
	times, panics := slot.Crashed()
	return times >= maxCrashes || panics >= maxPanics
}
