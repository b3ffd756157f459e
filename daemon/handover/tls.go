package handover

import (
	"cmp"
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/server"
	"tcpmux/daemon/session"
	"tcpmux/daemon/state"
	"tcpmux/daemon/systemd"
	"tcpmux/daemon/tlsconn"
)

// A connection whose TLS the kernel does goes on like any other; what the kernel does not tell of
// it has an entry in a file of its own. Of one whose TLS the process before did, only the end is
// recorded. Neither is ever served in clear text.

// memory is an entry as tlsconn wants it.
type memory struct{ *state.TLSEntry }

// Begin implements tlsconn.Memory.
func (m memory) Begin(s tlsconn.Secured) bool { return m.TLSEntry.Begin(state.Secured(s)) }

// tlsStore keeps what is to be known of connections whose TLS the kernel does.
type tlsStore struct {
	file atomic.Pointer[state.TLS] // nil: no such connection is kept
	full atomic.Bool               // that it has no room is logged
	skip func(fd uintptr, n int, m tlsconn.Memory) error
}

// tlsLeft is what is left of a connection's TLS.
type tlsLeft struct {
	entry  *state.TLSEntry // nil: none
	known  tlsconn.Secured
	sound  bool // the entry has what is known, and the kernel got the keys
	marked bool // the slot says that it spoke TLS
}

func (h *Handover) findTLS(slot *state.Slot, cookie uint64) tlsLeft {
	left := tlsLeft{entry: h.tls.file.Load().Find(cookie), marked: slot.TLS()}
	known, sound := left.entry.Secured()
	left.known, left.sound = tlsconn.Secured(known), sound
	return left
}

// fate is what becomes of a connection of the process before.
type fate uint8

const (
	goesOn     fate = iota // in clear text
	goesOnTLS              // in TLS, by the kernel
	beginsAnew             // with the handshake, or the PROXY header before it, if that was not read
	endsByLoss             // of its TLS, or of where its stream was: that is recorded
	vanishes               // as if it had never been
)

// fateOf returns what becomes of a connection with settings, that has gone to its listener with a
// name, if any. known reports whether it is known which listener that is, and what is to go on
// with its stream there.
func fateOf(settings *server.Settings, slot *state.Slot, k *kernelState, left *tlsLeft, name state.Named, known bool) fate {
	expected := settings.TLS != nil || settings.Listener.TLS.On() || k.tls == tlsconn.Prepared
	spoke := left.marked || left.entry != nil || k.tls == tlsconn.Encrypting || k.tls == tlsconn.Partial
	switch {
	case k.unix && k.entry == nil, !known:
	case !expected && !spoke:
		return goesOn
	case left.sound && k.tls == tlsconn.Encrypting:
		return goesOnTLS
	case settings.TLS != nil && !spoke && untouched(slot, k, name):
		return beginsAnew
	}
	if slot.Opened().IsZero() {
		return vanishes
	}
	return endsByLoss
}

// untouched reports whether nothing of a connection is recorded, and nothing was sent on it or
// taken of it, but its PROXY header, and its name with the reply to that.
func untouched(slot *state.Slot, k *kernelState, name state.Named) bool {
	_, header := slot.Client()
	switch {
	case !slot.Opened().IsZero():
		return false
	case name.Size > 0: // passName has passed both
		return k.consumed == 0
	}
	return !k.greeted && (k.consumed == 0 || k.consumed == int64(header))
}

// beginAnew has a session begin with its first stage, or with the one behind the PROXY header,
// which can be read once.
func beginAnew(r *server.Resumed, k *kernelState, slot *state.Slot, name state.Named) {
	r.Config.Staged = false
	if name.Size == 0 && k.consumed == 0 {
		return
	}
	r.Config.Done = session.DoneProxy
	switch client, _ := slot.Client(); {
	case name.Size > 0:
		if !k.greeted { // else that was the reply, as nothing else goes before the handshake
			r.Config.Reply = session.MuxReply
		}
	case client.IsValid():
		nameClient(r, client)
	}
}

// goOnTLS has a session go on whose TLS the kernel does. Its stream begins behind the handshake,
// and so behind the PROXY header; behind the name too, if that came in TLS.
func (h *Handover) goOnTLS(r *server.Resumed, k *kernelState, slot *state.Slot, left *tlsLeft, name state.Named) {
	m := memory{left.entry}
	r.TLS = &tlsconn.Left{Secured: left.known, Memory: m}
	if client, _ := slot.Client(); client.IsValid() {
		nameClient(r, client)
	}
	if r.Settings.Muxes() {
		namesAgain(&r.Config, session.DoneProxy|session.DoneTLS)
		return
	}
	prefix := h.passNameInTLS(r, k, name, m)
	h.skipTLS(r, k, prefix+slot.Tally().Offset, m)
	k.consumed, k.reset = m.Consumed()-prefix, false
	k.greeted = k.greeted || left.entry.Renewed() // the kernel counts anew with each key
	restore(&r.Config, *k, slot, r.Events)
	if name.TLS {
		greet(&r.Config, name)
	}
}

// endLost has a session record that it has ended: its TLS, or where its stream was, is lost with
// the process before.
func endLost(r *server.Resumed, k *kernelState, slot *state.Slot, left *tlsLeft) {
	if left.sound {
		known := left.known.Describe()
		r.Config.Source.TLS = &known
	}
	if client, _ := slot.Client(); client.IsValid() {
		nameClient(r, client)
	}
	k.consumed, k.reset = slot.Tally().Offset, false
	restore(&r.Config, *k, slot, r.Events)
	endAt(r.Config.Resume, session.ByCrash)
}

// openTLS opens what the previous process has left of connections whose TLS the kernel does.
func (h *Handover) openTLS() error {
	var left *state.TLS
	_, err := h.openStored(systemd.TLSName, "clients that speak TLS are lost", func(fd int) (err error) {
		left, err = state.OpenTLS(fd)
		return err
	})
	h.tls.file.Store(left)
	return err
}

// makeTLS makes room for what is to be known of clients whose TLS the kernel does, if listeners of
// cfg may have such.
func (h *Handover) makeTLS(cfg config.Config) {
	if h.tls.file.Load() != nil || !survivingTLS(cfg) {
		return
	}
	if err := h.storeTLS(cfg.Limits.Clients); err != nil {
		h.opt.Log.Warn("clients that speak TLS do not outlive the daemon", "err", err)
	}
}

// storeTLS makes the file, and has it stored if the ring is.
func (h *Handover) storeTLS(clients int) error {
	f, err := state.NewTLS(roomFor(clients))
	if err != nil {
		return err
	}
	if err := h.storeAnew(systemd.TLSName, f.FD()); err != nil {
		return errors.Join(err, f.Close())
	}
	h.tls.file.Store(f)
	return nil
}

// storeAnew has a file stored if the ring is, and only that under its name: a version before 0.3
// may have left one stored that it did not pass on.
func (h *Handover) storeAnew(name string, fd int) error {
	if !h.stored {
		return nil
	}
	return cmp.Or(unstore(name), store(name, fd))
}

// takeTLS returns an entry for a connection; nil if there is no room, which is logged once.
func (h *Handover) takeTLS(cookie uint64) *state.TLSEntry {
	f := h.tls.file.Load()
	e := f.Take(cookie)
	if e == nil && f != nil && !h.tls.full.Swap(true) {
		h.opt.Log.Warn("clients that speak TLS do not outlive the daemon",
			"reason", "there is no room for more of them: limits.clients was lower when the first one was kept, and a stop and a start make room")
	}
	return e
}

// survivingTLS reports whether clients of cfg that speak TLS may outlive the process.
func survivingTLS(cfg config.Config) bool {
	for _, l := range cfg.Listeners {
		if l.TLS.On() && l.TLS.Survive != "off" {
			return true
		}
	}
	return false
}

// dismiss closes a connection that nobody goes on with.
func dismiss(fd int, slot *state.Slot, left *tlsLeft, k *kernelState) error {
	_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	left.entry.Free()
	k.entry.Free()
	slot.Free()
	return unix.Close(fd)
}
