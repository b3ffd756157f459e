package handover

import (
	"tcpmux/daemon/server"
	"tcpmux/daemon/session"
	"tcpmux/daemon/state"
	"tcpmux/daemon/tlsconn"
)

// A connection that a mux has given to a listener goes on there, behind the name. What the client
// was sent for the name goes out with the banner, so it has both or neither; where the listener's
// handshake follows the name, it goes out before.

// namedAt returns the name that a connection has gone to its listener with, and whether it is known
// which listener that is. began reports whether it is known what the connection began with. Of one
// whose process was killed before the listener was noted, the mux asks again.
func namedAt(slot *state.Slot, from *origin, k *kernelState, began bool) (n state.Named, known bool) {
	n = slot.Named()
	switch {
	case !from.settings.Muxes():
		return n, n.Size == 0 || began
	case n.Size > 0 && !began:
		return n, false
	}
	slot.Unname()
	// Without a slot nobody knows whether the name is among what was taken.
	return state.Named{}, slot != nil || k.consumed == 0
}

// passName has the stream of a connection in clear text begin behind the name that the client has
// gone to its listener with, and behind a PROXY header before it. It reports whether it is there.
func passName(r *server.Resumed, k *kernelState, slot *state.Slot, n state.Named) bool {
	client, header := slot.Client()
	prefix := int64(header + n.Size)
	if k.skip(r.FD, prefix); k.consumed < prefix {
		return false
	}
	k.consumed -= prefix
	if client.IsValid() {
		nameClient(r, client)
	}
	return true
}

// clearName reports whether a name stands in clear text before the stream.
func clearName(n state.Named, k *kernelState) bool {
	return n.Size > 0 && !n.TLS && k.tls != tlsconn.Encrypting && (!k.unix || k.entry != nil)
}

// passNameInTLS is passName where the kernel does the TLS that the name came in. It returns how
// many bytes of the stream in TLS stand before the client's.
func (h *Handover) passNameInTLS(r *server.Resumed, k *kernelState, n state.Named, m memory) (prefix int64) {
	if prefix = nameInTLS(n); prefix > 0 {
		h.skipTLS(r, k, prefix, m)
	}
	return prefix
}

// nameInTLS returns how many bytes a name takes of the stream in TLS.
func nameInTLS(n state.Named) int64 {
	if !n.TLS {
		return 0
	}
	return int64(n.Size)
}

// skipTLS takes from the socket what it still holds of the stream in TLS before an offset.
func (h *Handover) skipTLS(r *server.Resumed, k *kernelState, offset int64, m memory) {
	n := offset - m.Consumed()
	if n <= 0 || n > int64(k.unread) {
		return
	}
	if h.tls.skip(uintptr(r.FD), int(n), m) == nil {
		k.unread -= int(n)
	}
}

// namesAgain has a session wait for a name, as the one before did.
func namesAgain(c *session.Config, done session.DoneStages) {
	c.Staged, c.Done = false, done
}

// muxOf returns the name of the mux that has given a connection to its listener; "" if it is not
// known, or none has.
func muxOf(settings *server.Settings, n state.Named) string {
	if n.Size == 0 || n.By == 0 || n.By > len(settings.MuxedBy) {
		return ""
	}
	return settings.MuxedBy[n.By-1]
}

// greet has the session send the reply to the name with the banner, if the client has neither.
func greet(c *session.Config, n state.Named) {
	if n.Size > 0 && !c.Resume.Greeted {
		c.Reply = session.MuxReply
	}
}
