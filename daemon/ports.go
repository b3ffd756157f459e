package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/listen"
	"tcpmux/daemon/program"
	"tcpmux/daemon/server"
	"tcpmux/daemon/systemd"
)

// A fault of one listener keeps neither the others nor the clients of the previous process from
// being served. It is logged, shown in the status line, and the listener is tried again until it
// can be served. New clients wait in its backlog meanwhile, if it has one: they are not turned away
// for what an administrator can repair.

// Pauses between two attempts to serve a listener.
const (
	minRetry = time.Second
	maxRetry = 16 * time.Second
)

// port is a socket of a listener, served or not.
type port struct {
	*server.Binding
	unserved *unserved // nil: it is served
}

// unserved is why a port is not served, and when that is tried again.
type unserved struct {
	err   error
	pause time.Duration
	next  time.Time
}

// ports are the sockets of all listeners. They belong to the goroutine of Run.
type ports struct {
	all       []*port
	unmatched []error // one for each socket that was passed in and is no listener's
	rules     rulesFiles
	srv       *server.Server
	records   *recordFiles
	tls       *tlsSets
	log       *slog.Logger
	fail      context.CancelCauseFunc // called when an accept loop ends by itself
	accepting sync.WaitGroup          // accept loops
}

// openPorts finds out which listeners can be served, with the sockets that were passed in or, if
// there are none, with its own. The caller closes the ports.
func openPorts(cfg []config.Listener, sockets []systemd.Socket, srv *server.Server, records *recordFiles, sets *tlsSets, log *slog.Logger) *ports {
	ps := &ports{rules: make(rulesFiles), srv: srv, records: records, tls: sets, log: log}
	ipv6 := config.HasIPv6()
	lns, unmatched := listen.Open(cfg, sockets, ipv6)
	ps.unmatched = unmatched
	for _, ln := range append(lns, muxedOf(cfg, lns)...) {
		i := slices.IndexFunc(cfg, func(c config.Listener) bool { return c.Name == ln.Name })
		ps.add(ln, cfg[i])
	}
	for _, c := range cfg {
		listen.WarnDisagreement(c, lns, log)
		if len(sockets) == 0 && len(c.Addresses(ipv6)) < len(c.Address) {
			log.Info("all addresses are those of IPv4: there is no IPv6", "listener", c.Name)
		}
	}
	listen.WarnUnknownUsers(cfg, log)
	ps.useRules()
	return ps
}

// add adds a port, and finds out whether it can be served.
func (ps *ports) add(ln *listen.Listener, c config.Listener) *port {
	p := &port{Binding: ps.srv.Bind(ln, c)}
	ps.all = append(ps.all, p)
	if err := ps.prepare(p); err != nil {
		p.unserved = &unserved{err: err, pause: minRetry, next: time.Now().Add(minRetry)}
		return p
	}
	ps.logListening(p)
	return p
}

// prepare makes a port ready to be served: a socket that listens, unless it is reached through
// muxes alone, the rules that its listener names, a program that can be started, its certificates,
// and its own record file.
func (ps *ports) prepare(p *port) error {
	c := p.Settings().Listener
	if err := p.listen(c); err != nil {
		return err
	}
	if err := ps.records.ready(c); err != nil {
		return err
	}
	if err := ps.tls.ready(c); err != nil {
		return err
	}
	if err := cmp.Or(ps.rules.add(c.Limits.Rules), program.Check(c)); err != nil {
		return listen.Misfit{Err: err}
	}
	return nil
}

// listen has the port's socket listen, if it is to have one.
func (p *port) listen(c config.Listener) error {
	ln := p.Listener
	if ln.IsMuxed() {
		return nil
	}
	if ln.File == nil {
		if err := ln.Bind(); err != nil {
			return err
		}
	}
	return cmp.Or(ln.Prepare(c.LostTimeout), ln.Defer(c.Muxes()), ln.Listen(c.Backlog))
}

// start logs which ports are not served, and lets clients in at the others. fail is called with the
// error of an accept loop that ends by itself.
func (ps *ports) start(fail context.CancelCauseFunc) {
	ps.fail = fail
	for _, p := range ps.all {
		if p.unserved != nil {
			ps.logUnserved(p)
		}
	}
	for _, err := range ps.unmatched {
		ps.log.Error("socket is not served", "err", err)
	}
	ps.requestMissing()
	for _, p := range ps.all {
		if p.unserved == nil {
			ps.serve(p)
		}
	}
}

// serve starts the accept loop of a port, or has muxes find one that has none.
func (ps *ports) serve(p *port) {
	if p.Listener.IsMuxed() {
		ps.srv.Reach(p.Binding)
		return
	}
	ps.accepting.Go(func() {
		if err := ps.srv.Serve(p.Binding); !errors.Is(err, server.ErrServerClosed) {
			ps.fail(err)
		}
	})
}

// retry tries the ports that are due for another attempt.
func (ps *ports) retry(now time.Time) {
	for _, p := range ps.all {
		u := p.unserved
		if u == nil || now.Before(u.next) {
			continue
		}
		err := ps.prepare(p)
		if err == nil {
			p.unserved = nil
			p.SetRules(ps.rules.of(p.policy()))
			ps.tls.setRules(ps.rules)
			ps.logListening(p)
			ps.serve(p)
			continue
		}
		changed := err.Error() != u.err.Error()
		u.err, u.pause = err, min(2*u.pause, maxRetry)
		u.next = time.Now().Add(u.pause)
		if changed {
			ps.logUnserved(p)
		}
	}
}

// retrySoon makes all ports that are not served due: what kept them from it may have changed.
func (ps *ports) retrySoon() {
	for _, p := range ps.all {
		if p.unserved != nil {
			p.unserved.pause, p.unserved.next = minRetry, time.Time{}
		}
	}
}

// configure gives the ports of each listener its new settings. Listeners that were added, removed
// or moved need a restart and change nothing here, but those that are reached through muxes alone
// come and go. Each origin identifies settings.
func (ps *ports) configure(cfg []config.Listener, origins map[string]uint32) {
	ps.removeMuxed(cfg)
	for _, ln := range muxedOf(cfg, ps.listeners()) {
		i := slices.IndexFunc(cfg, func(c config.Listener) bool { return c.Name == ln.Name })
		if p := ps.add(ln, cfg[i]); p.unserved == nil {
			ps.serve(p)
		} else {
			ps.logUnserved(p)
		}
	}
	for _, c := range cfg {
		for _, p := range ps.all {
			ln := p.Listener
			if ln.Name != c.Name {
				continue
			}
			ps.srv.Configure(p.Binding, c, origins[c.Name])
			if ln.File == nil {
				continue
			}
			if err := cmp.Or(ln.Prepare(c.LostTimeout), ln.Defer(c.Muxes()), ln.Listen(c.Backlog)); err != nil {
				ps.log.Warn("backlog or lost_timeout cannot be changed", "listener", ln.Name, "err", err)
			}
		}
	}
}

// setOrigins gives the settings of each listener their origin.
func (ps *ports) setOrigins(origins map[string]uint32) {
	for _, p := range ps.all {
		ps.srv.Configure(p.Binding, p.Settings().Listener, origins[p.Listener.Name])
	}
}

// leaveBacklogs leaves the clients that wait in backlogs to the next program: they count as sockets
// that somebody else holds too.
func (ps *ports) leaveBacklogs() {
	for _, p := range ps.all {
		p.Listener.Inherited = !p.Listener.IsMuxed()
	}
}

// inherited reports whether the service manager holds a socket.
func (ps *ports) inherited() bool {
	return slices.ContainsFunc(ps.all, func(p *port) bool { return p.Listener.Inherited })
}

// configs returns the configuration of each port's listener.
func (ps *ports) configs() (all []config.Listener) {
	for _, p := range ps.all {
		all = append(all, p.Settings().Listener)
	}
	return all
}

// bindings returns the bindings of all ports.
func (ps *ports) bindings() (all []*server.Binding) {
	for _, p := range ps.all {
		all = append(all, p.Binding)
	}
	return all
}

// faults returns why ports are not served; nil if one is, which clients reach without a mux.
func (ps *ports) faults() error {
	var errs []error
	for _, p := range ps.all {
		if p.unserved == nil {
			if p.Listener.IsMuxed() {
				continue
			}
			return nil
		}
		errs = append(errs, fmt.Errorf("%v: %w", p.Listener, p.unserved.err))
	}
	return errors.Join(append(errs, ps.unmatched...)...)
}

// status returns the part of the status line about what is not served, each after a semicolon.
func (ps *ports) status() (line string) {
	n := 0
	for _, p := range ps.all {
		if p.unserved == nil {
			continue
		}
		if n++; n == 1 {
			line += fmt.Sprintf("; %v is not served: %v", p.Listener, p.unserved.err)
		}
	}
	if n > 1 {
		line += fmt.Sprintf(", and %d more", n-1)
	}
	if len(ps.unmatched) > 0 {
		line += fmt.Sprintf("; %v", ps.unmatched[0])
	}
	return line
}

// close closes the sockets that no accept loop closes. A nil *ports has none.
func (ps *ports) close() {
	if ps == nil {
		return
	}
	for _, p := range ps.all {
		if p.unserved != nil {
			_ = p.Listener.Close() // nothing was written
		}
	}
}

func (ps *ports) logUnserved(p *port) {
	ps.log.Error("listener is not served",
		"listener", p.Listener.Name, "address", p.Listener.Addr.String(), "err", p.unserved.err)
}

func (ps *ports) logListening(p *port) {
	ln := p.Listener
	if ln.IsMuxed() {
		ps.log.Info("reached through a mux", "listener", ln.Name, "muxes", strings.Join(p.Settings().MuxedBy, " "))
		return
	}
	ps.log.Info("listening", "listener", ln.Name, "address", ln.Addr.String(),
		"backlog", p.Settings().Backlog, "inherited", ln.Inherited)
}
