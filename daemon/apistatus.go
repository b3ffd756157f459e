package daemon

import (
	"cmp"
	"os"
	"strings"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/control/api"
	"tcpmux/daemon/counts"
)

// apiStatus returns what the daemon is doing.
func (d *daemon) apiStatus() api.Status {
	s := api.Status{
		Version: d.version, PID: os.Getpid(), Started: d.started, Now: time.Now(), Phase: d.phase.word(),
		Config: api.Config{
			File: d.cfg.Path, Loaded: d.loaded, Differs: d.fault != nil || len(d.pending()) > 0, Faults: linesOf(d.fault), Reloads: d.reloads,
		},
		TLS:       d.tlsClients(),
		Survive:   api.Survive{On: d.handover.Survives(), Clients: d.srv.Surviving()},
		Clients:   d.srv.Clients(),
		Limit:     d.srv.Capacity(),
		Listeners: d.apiListeners(),
		Files:     d.apiFiles(),
		Problems:  d.problems(),
		Unready:   d.unready(),
	}
	if !s.Survive.On {
		s.Survive.Clients, s.TLS.Survive = 0, 0
	}
	return s
}

// tlsClients counts the clients that speak TLS.
func (d *daemon) tlsClients() (all api.TLSClients) {
	for _, c := range d.srv.TLSClients() {
		all.Clients += c.Clients
		all.Survive += c.Survive
		if c.Kernel {
			all.Kernel += c.Clients
		}
	}
	return all
}

// word returns the phase as the control socket says it.
func (p phase) word() string {
	switch p {
	case serving:
		return "serving"
	case draining:
		return "draining"
	}
	return "leaving"
}

// linesOf returns the lines of an error, and no line of nil.
func linesOf(err error) []string {
	if err == nil {
		return []string{}
	}
	return strings.Split(err.Error(), "\n")
}

// apiListeners returns the listeners, in the order of the configuration in force.
func (d *daemon) apiListeners() []api.Listener {
	all := []api.Listener{}
	byName := d.srv.Counts()
	for _, c := range d.cfg.Listeners {
		l := api.Listener{
			Name: c.Name, Addresses: []string{}, From: cmp.Or(c.Source, d.cfg.Path), Model: c.Model, Framing: c.Framing, Service: c.Service,
			Limit: c.Limits.Clients, Draining: d.srv.DrainingListener(c.Name), Counts: countsOf(byName[c.Name]),
			Mux: append([]string{}, c.Mux...), MuxedBy: append([]string{}, c.MuxedBy...), Upstreams: []string{},
			Rates: d.rates.of(c.Name),
		}
		if c.Proxies() {
			l.Upstreams = append(l.Upstreams, c.Proxy.To...)
		}
		if c.Record {
			l.File = d.records.of(c).Path()
		}
		if n := byName[c.Name]; n != nil {
			l.Clients = int(n.Clients.Load())
		}
		l.Addresses, l.Fault = d.ports.of(c.Name)
		l.TLS = d.tls.api(c, time.Now(), d.handover.Survives())
		all = append(all, l)
	}
	return all
}

// of returns where a listener listens, and why one of its addresses is not served.
func (ps *ports) of(name string) (addresses []string, fault string) {
	addresses = []string{}
	for _, p := range ps.all {
		if p.Listener.Name != name {
			continue
		}
		if !p.Listener.IsMuxed() {
			addresses = append(addresses, p.Listener.Addr.String())
		}
		if p.unserved != nil && fault == "" {
			fault = p.unserved.err.Error()
		}
	}
	return addresses, fault
}

// countsOf returns the counts of a listener; nil has none.
func countsOf(n *counts.Listener) api.Counts {
	if n == nil {
		return api.Counts{Refused: map[string]int64{}}
	}
	return api.Counts{
		Visits: n.Visits.Load(), Silent: n.Silent.Load(), Records: n.Records.Load(), Bytes: n.Bytes.Load(),
		Acks: n.Acks.Load(), Refused: n.Refused.Snapshot(),
	}
}

// apiFiles returns the record files, without what the disk has to be asked for: a disk that hangs
// must not make Run hang too.
func (d *daemon) apiFiles() []api.File {
	all := []api.File{}
	for _, f := range d.records.all() {
		s := f.sink.State()
		file := api.File{
			Path: f.Path(), Listener: f.listener, Format: d.cfg.Record.Format, MinFree: d.cfg.Record.MinFree, Free: -1,
			Failing: s.Err != nil, Since: s.Since, Waiting: int64(s.Waiting),
			Written: f.counts.Written(), Synced: f.counts.Synced(), Troubles: f.troubles(),
			Overdue: f.counts.Overdue.Load(), OverdueBytes: f.counts.OverdueBytes.Load(),
		}
		if s.Err != nil {
			file.Error = f.withHint(s.Err).Error()
		}
		all = append(all, file)
	}
	return all
}

// list returns the conditions that last.
func (c *conditions) list() []string {
	all := []string{}
	for what, text := range conditionTexts {
		if c.present[what].Load() {
			all = append(all, text.status)
		}
	}
	return all
}

// problems returns what an administrator should know, the worst first.
func (d *daemon) problems() []string {
	all := append(d.records.failing(), d.records.troubles()...)
	all = append(all, d.ports.problems()...)
	all = append(all, d.tls.problems(d.cfg.Listeners, time.Now())...)
	if d.fault != nil {
		all = append(all, "configuration not loaded: "+linesOf(d.fault)[0])
	}
	all = append(all, d.pending()...)
	if d.ports.rules.faulty() {
		all = append(all, "rules are not those of their file")
	}
	return append(all, d.controls.problems()...)
}

// pending returns which settings of the file a reload could not put in force, and what does.
func (d *daemon) pending() (all []string) {
	for _, c := range d.changes {
		if c.Effect == config.Restart {
			all = append(all, c.Title()+" of the file is put in force by "+restartBy(c.Path(), d.ports.inherited()))
		}
	}
	return all
}

// problems returns why ports are not served.
func (ps *ports) problems() (all []string) {
	for _, p := range ps.all {
		if p.unserved != nil {
			all = append(all, p.Listener.String()+" is not served: "+p.unserved.err.Error())
		}
	}
	for _, err := range ps.unmatched {
		all = append(all, err.Error())
	}
	return all
}

// unready returns why the daemon should get no new clients.
func (d *daemon) unready() []string {
	all := []string{}
	if d.phase != serving {
		all = append(all, "the daemon is "+d.phase.String())
	}
	all = append(all, d.records.failing()...)
	for _, p := range d.ports.all {
		if p.unserved != nil {
			all = append(all, p.Listener.String()+" is not served: "+p.unserved.err.Error())
		}
	}
	return all
}
