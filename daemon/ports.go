package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
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
	for _, ln := range lns {
		i := slices.IndexFunc(cfg, func(c config.Listener) bool { return c.Name == ln.Name })
		p := &port{Binding: srv.Bind(ln, cfg[i])}
		ps.all = append(ps.all, p)
		if err := ps.prepare(p); err != nil {
			p.unserved = &unserved{err: err, pause: minRetry, next: time.Now().Add(minRetry)}
			continue
		}
		ps.logListening(p)
	}
	for _, c := range cfg {
		listen.WarnDisagreement(c, lns, log)
		if len(sockets) == 0 && len(c.Addresses(ipv6)) < len(c.Address) {
			log.Info("all addresses are those of IPv4: there is no IPv6", "listener", c.Name)
		}
	}
	ps.useRules()
	return ps
}

// prepare makes a port ready to be served: a socket that listens, the rules that its listener
// names, a program that can be started, its certificates, and its own record file.
func (ps *ports) prepare(p *port) error {
	ln, c := p.Listener, p.Settings().Listener
	if ln.File == nil {
		if err := ln.Bind(); err != nil {
			return err
		}
	}
	if err := cmp.Or(ln.Prepare(c.LostTimeout), ln.Listen(c.Backlog)); err != nil {
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

// serve starts the accept loop of a port.
func (ps *ports) serve(p *port) {
	ps.accepting.Go(func() {
		if err := ps.srv.Serve(p.Binding); !errors.Is(err, server.ErrServerClosed) {
			ps.fail(err)
		}
	})
}

// Under systemd it is not for the daemon to open a port. If a socket is missing, it creates a file,
// which starts tcpmux-ports.service. That reports in another file why the port cannot be opened.
const missingFile = "missing" // below $RUNTIME_DIRECTORY

// requestMissing has tcpmux-ports.service started if a listener has no socket. The file of the
// process before may be there still (RuntimeDirectoryPreserve=).
func (ps *ports) requestMissing() {
	dir := os.Getenv("RUNTIME_DIRECTORY")
	if dir == "" {
		return
	}
	path := filepath.Join(dir, missingFile)
	if !slices.ContainsFunc(ps.all, func(p *port) bool { return p.Listener.File == nil }) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			ps.log.Warn("file that asks for missing ports cannot be removed", "err", err)
		}
		return
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		ps.log.Warn("ports that are missing are not opened by themselves", "err", err)
	}
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
// or moved need a restart and change nothing here. Each origin identifies settings.
func (ps *ports) configure(cfg []config.Listener, origins map[string]uint32) {
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
			if err := cmp.Or(ln.Prepare(c.LostTimeout), ln.Listen(c.Backlog)); err != nil {
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
		p.Listener.Inherited = true
	}
}

// inherited reports whether the service manager holds a socket.
func (ps *ports) inherited() bool {
	return slices.ContainsFunc(ps.all, func(p *port) bool { return p.Listener.Inherited })
}

// replaceRules puts other files of rules in force.
func (ps *ports) replaceRules(files rulesFiles) {
	var inUse []config.Policy
	for _, p := range ps.all {
		inUse = append(inUse, p.policy())
	}
	files.keep(ps.rules, inUse)
	ps.rules = files
	ps.useRules()
}

func (ps *ports) useRules() {
	ps.tls.setRules(ps.rules)
	for _, p := range ps.all {
		p.SetRules(ps.rules.of(p.policy()))
	}
}

// refreshRules puts in force what has changed in the files of rules.
func (ps *ports) refreshRules() {
	changed := ps.rules.refresh(ps.log)
	if len(changed) > 0 {
		ps.tls.setRules(ps.rules)
	}
	for _, p := range ps.all {
		if slices.Contains(changed, p.policy().Rules) {
			p.SetRules(ps.rules.of(p.policy()))
		}
	}
}

func (p *port) policy() config.Policy { return p.Settings().Limits.Policy }

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

// faults returns why ports are not served; nil if one is.
func (ps *ports) faults() error {
	var errs []error
	for _, p := range ps.all {
		if p.unserved == nil {
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
	ps.log.Info("listening", "listener", ln.Name, "address", ln.Addr.String(),
		"backlog", p.Settings().Backlog, "inherited", ln.Inherited)
}
