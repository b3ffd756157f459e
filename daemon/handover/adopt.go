package handover

import (
	"errors"
	"net/netip"
	"runtime/debug"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/ring"
	"tcpmux/daemon/server"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/state"
)

// How many processes in a row may end while they are busy with the same bytes of a client: by a
// panic over them, or in any way. A kill from outside is not the client's fault, and finds a
// session busy that has a long message.
const (
	maxPanics  = 3
	maxCrashes = 12
)

// collectLess has garbage be collected less often until restore is called. Nearly all that adopt
// allocates stays in use, so that each collection on the way goes through all clients so far, while
// all of them wait. Who has set GOGC to less, or to off, has that.
func collectLess() (restore func()) {
	const usual, less = 100, 400
	was := debug.SetGCPercent(less)
	if was < usual {
		debug.SetGCPercent(was)
	}
	return func() { debug.SetGCPercent(was) }
}

// adopt goes on with all connections in the ring.
func (h *Handover) adopt(bindings []*server.Binding) error {
	h.named = byName(bindings)
	defer h.adoptHalves(bindings)
	return h.ring.Adopt(func(fd int, cookie uint64) *ring.Entry {
		if e := h.findHalf(fd, cookie); e != nil {
			return e
		}
		c := &connection{handover: h}
		alive, err := h.resume(c, bindings, fd, cookie, nil)
		h.lament(err)
		if !alive {
			return nil
		}
		return &c.entry
	})
}

// lament logs why a connection is not served on, if err is one.
func (h *Handover) lament(err error) {
	if err != nil {
		h.opt.Log.Error("connection cannot be served on", "err", err)
	}
}

// resume has the server go on with c, a connection of the previous process, which was joined with
// that of an upstream, up; nil: it was not, or is no longer. The descriptors are the session's from
// now on, or closed when nothing is left to go on with: then it returns false.
func (h *Handover) resume(c *connection, bindings []*server.Binding, fd int, cookie uint64, up *half) (alive bool, err error) {
	slot := h.state.Find(cookie)
	left := h.findTLS(slot, cookie)
	k, err := h.kernel(fd)
	if err == nil && k.unix {
		err = h.recall(fd, &k, cookie)
	}
	if err != nil || slot.Closed() || slot == nil && k.over {
		// Its end was recorded, or it is no connection.
		return false, errors.Join(err, dismiss(fd, slot, &left, &k), up.dismiss(h))
	}
	if slot == nil && c.pair == nil && h.stranger(bindings, k.local) {
		return false, dismiss(fd, slot, &left, &k)
	}
	began := h.beganWith(slot.Origin()) != nil // before originOf notes another one
	from := h.originOf(slot, bindings, k.local)
	name, known := namedAt(slot, &from, &k, began)
	c.slot, c.tls, c.unix = slot, left.entry, k.entry
	r := resumed(c, &from, &k, fd, cookie)
	r.Config.Source.Mux = muxOf(from.settings, name)
	if clearName(name, &k) {
		known = passName(&r, &k, slot, name) && known
	}
	f, sound := fate(0), false
	if up != nil {
		f, sound = fateOfPair(c, up, from.settings, &k, &left, name)
	}
	if !known || !sound {
		h.lament(up.dismiss(h))
		up = nil
		known = known && !lostUpstream(c, from.settings, slot, &k, &left, name)
		f = fateOf(from.settings, slot, &k, &left, name, known)
	}
	if err := c.join(&r, up); err != nil {
		return false, errors.Join(err, dismiss(fd, slot, &left, &k))
	}
	switch f {
	case goesOn:
		h.goOn(&r, &k, slot, name)
	case goesOnTLS:
		h.goOnTLS(&r, &k, slot, &left, name)
	case beginsAnew:
		beginAnew(&r, &k, slot, name)
	case endsByLoss:
		c.forsaken.Store(true)
		endLost(&r, &k, slot, &left)
	case vanishes:
		return false, dismiss(fd, slot, &left, &k)
	}
	err = h.serve(r)
	return err == nil, err
}

// resumed returns what the server has to know of c to go on with it, before it is known how.
func resumed(c *connection, from *origin, k *kernelState, fd int, cookie uint64) server.Resumed {
	r := server.Resumed{Binding: from.binding, Settings: from.settings, Events: from.events, FD: fd, Client: k.remote}
	r.Config = session.Config{
		Source: record.Source{Listener: from.settings.Name, Session: server.SessionName(cookie), Remote: k.remote.String()},
		Unix:   k.remote.Unix,
		Opened: time.Now(),
		Slot:   c.slot,
		Keep:   c,
		Past:   &session.Past{Killed: c.slot.Killed(), Staged: true},
	}
	return r
}

// serve has the server go on with a connection. After an error it is closed, and so is that of its
// upstream.
func (h *Handover) serve(r server.Resumed) error {
	err := h.opt.Server.Resume(r)
	if up := r.Config.Upstream; err != nil && up != nil {
		up.Conn.HangUp()
		up.Joint.Part()
		up.Conn.Close()
	}
	return err
}

// goOn has a session in clear text go on, or begin with its PROXY header, or with the name that its
// client gives a mux.
func (h *Handover) goOn(r *server.Resumed, k *kernelState, slot *state.Slot, name state.Named) {
	switch {
	case name.Size > 0: // passName has passed both
	case !passProxyHeader(r, k, slot):
		r.Config.Staged = false
		return
	case r.Settings.Muxes():
		namesAgain(&r.Config, session.DoneProxy)
		return
	}
	if offset := slot.Tally().Offset; r.Config.Upstream == nil {
		k.skip(r.FD, offset)
	} else { // it was noted, and the kernel may count the end of the stream too
		k.consumed, k.reset = offset+int64(slot.Behind(offset)), false
	}
	restore(&r.Config, *k, slot, r.Events)
	greet(&r.Config, name)
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
	if s.Proxy != "" {
		return // it is named
	}
	s.Remote, s.Proxy = client.String(), s.Remote
	r.Client = sockaddr.TCP(client)
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
