package handover

import (
	"tcpmux/config"
	"tcpmux/daemon/server"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/state"
)

// origin is what a session of the previous process goes on with.
type origin struct {
	binding  *server.Binding // it came through this one; nil while it is not known
	settings *server.Settings
	events   config.Events // whether its opening and closing are records
}

// originOf returns the binding of a connection and the settings that it goes on with: those that
// it began with. Where these are not known, they are what the listener at its address has now.
func (h *Handover) originOf(slot *state.Slot, bindings []*server.Binding, local sockaddr.Local) origin {
	o := h.beganWith(slot.Origin())
	if o == nil {
		b := bindingAt(bindings, local)
		return origin{b, h.unknown(slot, b.Settings()), h.opt.Config.Record.Events}
	}
	if named := h.named[o.settings.Name]; len(named) > 0 {
		b := bindingAt(named, local)
		if now := b.Settings(); now.Origin == slot.Origin() {
			return origin{b, now, h.opt.Config.Record.Events}
		}
		return origin{b, o.settings, o.events}
	}
	if o.binding == nil {
		o.binding = h.opt.Server.Retired(o.settings, local)
	}
	return *o
}

// byName returns the bindings of each listener, for which each client asks.
func byName(bindings []*server.Binding) map[string][]*server.Binding {
	named := make(map[string][]*server.Binding)
	for _, b := range bindings {
		named[b.Listener.Name] = append(named[b.Listener.Name], b)
	}
	return named
}

// unknown returns the settings of a connection of unknown origin: those that the listener has now.
// But its records go on in the file of [record], where its marks are.
func (h *Handover) unknown(slot *state.Slot, now *server.Settings) *server.Settings {
	if now.File == "" {
		slot.SetOrigin(now.Origin)
		return now
	}
	l := now.Listener
	l.File = ""
	slot.SetOrigin(0)
	return h.opt.Server.NewSettings(l, 0)
}

// beganWith returns what the sessions of a number began with; nil when it is not known.
func (h *Handover) beganWith(number uint32) *origin {
	if o, asked := h.origins[number]; asked {
		return o
	}
	h.origins[number] = nil
	if l, events, known := h.opt.Settings.began(number); known {
		h.origins[number] = &origin{settings: h.opt.Server.NewSettings(l, number), events: events}
	}
	return h.origins[number]
}

// bindingAt returns the binding that a connection came through: the one at its address, else one
// at its port, else, as its own is no longer there, the first.
func bindingAt(bindings []*server.Binding, local sockaddr.Local) *server.Binding {
	best, score := bindings[0], 0
	for _, b := range bindings {
		if now := closeness(b.Listener.Addr, local); now > score {
			best, score = b, now
		}
	}
	return best
}

// closeness tells how well a listener's address fits that of a connection; 0: not at all.
func closeness(listener, local sockaddr.Local) int {
	switch {
	case listener == local:
		return 3
	case listener.Unix() || local.Unix() || listener.Port() != local.Port():
		return 0
	case listener.Addr().IsUnspecified() && listener.Addr().Is4() == local.Addr().Is4():
		return 2
	}
	return 1
}
