package daemon

import (
	"slices"

	"tcpmux/config"
	"tcpmux/daemon/listen"
	"tcpmux/daemon/server"
)

// A listener that clients reach through muxes alone has a port too, without a socket: so a reload,
// rules, certificates, record files and limits are the same as those of all others.

// muxedOf returns the places of listeners that have no socket, and no address either: clients reach
// them through muxes.
func muxedOf(cfg []config.Listener, bound []*listen.Listener) (lns []*listen.Listener) {
	for _, c := range cfg {
		has := func(ln *listen.Listener) bool { return ln.Name == c.Name }
		if len(c.Address) == 0 && !slices.ContainsFunc(bound, has) {
			lns = append(lns, listen.Muxed(c.Name))
		}
	}
	return lns
}

// reach has muxes find all listeners that can be served, before any client of a mux is: who has
// connected while no daemon ran has named a listener already.
func (ps *ports) reach() {
	var served []*server.Binding
	for _, p := range ps.all {
		if p.unserved == nil {
			served = append(served, p.Binding)
		}
	}
	ps.srv.Reach(served...)
}

// removeMuxed removes the ports of listeners that are configured no longer and need no restart for
// that. Their clients are served on.
func (ps *ports) removeMuxed(cfg []config.Listener) {
	ps.all = slices.DeleteFunc(ps.all, func(p *port) bool {
		name := p.Listener.Name
		there := slices.ContainsFunc(cfg, func(c config.Listener) bool { return c.Name == name })
		if there || !p.Listener.IsMuxed() {
			return false
		}
		ps.srv.Unreach(name)
		return true
	})
}

// listeners returns the sockets of all ports.
func (ps *ports) listeners() (all []*listen.Listener) {
	for _, p := range ps.all {
		all = append(all, p.Listener)
	}
	return all
}
