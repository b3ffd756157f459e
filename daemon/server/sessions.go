package server

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/counts"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/tap"
)

// Tail returns a reader of the records of sessions that f selects by ID, Listener and Source, from
// now on. A source that is neither an address nor a prefix nor a user selects none.
func (s *Server) Tail(f api.Filter) *tap.Reader {
	from, _ := sockaddr.ParseSources(f.Source) // else nobody
	return s.env.Tap.Follow(tap.Filter{Listener: f.Listener, From: from, Session: f.ID})
}

// Counts returns the counts of all listeners since the process started, by their names. Listeners
// that are configured no longer are among them.
func (s *Server) Counts() map[string]*counts.Listener {
	s.named.Lock()
	defer s.named.Unlock()
	return maps.Clone(s.counts)
}

// occupancyOf returns what the sockets of a listener share.
func (s *Server) occupancyOf(name string) *occupancy {
	s.named.Lock()
	o := s.occupancies[name]
	s.named.Unlock()
	if o != nil {
		return o
	}
	o = s.newOccupancy(name)
	s.named.Lock()
	defer s.named.Unlock()
	s.occupancies[name] = o
	return o
}

// countsOf returns the counts of a listener.
func (s *Server) countsOf(name string) *counts.Listener {
	s.named.Lock()
	defer s.named.Unlock()
	c := s.counts[name]
	if c == nil {
		c = &counts.Listener{}
		s.counts[name] = c
	}
	return c
}

// Drain has new clients of a listener refused from now on, or, if on is false, let in again. Those
// that are there are served on. A reload does not change that, but the next process does not know
// of it. Drain reports how many clients are there, and whether there is such a listener.
func (s *Server) Drain(listener string, on bool) (clients int, found bool) {
	s.named.Lock()
	o := s.occupancies[listener]
	s.named.Unlock()
	if o == nil {
		return 0, false
	}
	if o.draining.Swap(on) != on {
		s.env.Log.Info("listener drains", "listener", listener, "draining", on)
	}
	return int(o.counts.Clients.Load()), true
}

// DrainingListener reports whether Drain has new clients of a listener refused.
func (s *Server) DrainingListener(name string) bool {
	s.named.Lock()
	defer s.named.Unlock()
	o := s.occupancies[name]
	return o != nil && o.draining.Load()
}

// selection is a filter, made ready.
type selection struct {
	api.Filter
	from  sockaddr.Sources // the Filter's Source
	order func(a, b *chosen) int
}

// chosen is a session that a filter matches.
type chosen struct {
	session *session.Session
	session.Summary
	peer sockaddr.Peer // of Remote
}

// orders are what sessions can be sorted by. Those that are equal go by their age.
var orders = map[string]func(a, b *chosen) int{
	"opened":  func(a, b *chosen) int { return a.Opened.Compare(b.Opened) },
	"heard":   func(a, b *chosen) int { return a.heard().Compare(b.heard()) },
	"bytes":   func(a, b *chosen) int { return cmp.Compare(a.Bytes, b.Bytes) },
	"records": func(a, b *chosen) int { return cmp.Compare(a.Records, b.Records) },
	"remote":  func(a, b *chosen) int { return a.peer.Compare(b.peer) },
}

// heard returns when the session last sent a message, or else when it began.
func (c *chosen) heard() time.Time {
	if c.Heard.IsZero() {
		return c.Opened
	}
	return c.Heard
}

func selectionOf(f api.Filter) (sel selection) {
	sel.Filter = f
	sel.from, _ = sockaddr.ParseSources(f.Source) // else nobody
	order, reverse := orders[strings.TrimPrefix(f.Sort, "-")], 1
	if order == nil {
		order = orders["opened"]
	}
	if strings.HasPrefix(f.Sort, "-") {
		reverse = -1
	}
	sel.order = func(a, b *chosen) int {
		return reverse * cmp.Or(order(a, b), a.Opened.Compare(b.Opened), cmp.Compare(a.ID, b.ID))
	}
	return sel
}

// matches reports whether the filter selects a session.
func (sel *selection) matches(c *chosen, now time.Time) bool {
	switch {
	case sel.ID != "" && sel.ID != c.ID,
		sel.Listener != "" && sel.Listener != c.Listener,
		sel.MinBytes > c.Bytes,
		sel.Idle > 0 && now.Sub(c.heard()).Seconds() < sel.Idle:
		return false
	}
	return sel.from.Contains(c.peer)
}

// choose returns the sessions that a filter matches, in no order.
func (s *Server) choose(sel *selection) (all []chosen) {
	now := time.Now()
	for _, ss := range s.sessions() {
		c := chosen{session: ss, Summary: ss.Summary()}
		c.peer, _ = sockaddr.ParsePeer(c.Remote) // it is one
		if sel.matches(&c, now) {
			all = append(all, c)
		}
	}
	return all
}

// Sessions returns the sessions that a filter matches, in its order and up to its limit. A source
// that is neither an address nor a prefix nor a user matches none; a key to sort by that is not
// known is the default.
func (s *Server) Sessions(f api.Filter) api.Sessions {
	sel := selectionOf(f)
	all := s.choose(&sel)
	sorted := make([]*chosen, len(all)) // they are large: to move each as often as sorting does takes longer
	for i := range all {
		sorted[i] = &all[i]
	}
	slices.SortFunc(sorted, sel.order)
	answer := api.Sessions{Sessions: []api.Session{}, Total: len(all)}
	if f.Limit > 0 {
		sorted = sorted[:min(f.Limit, len(sorted))]
	}
	for _, c := range sorted {
		info := c.session.Info()
		answer.Sessions = append(answer.Sessions, sessionOf(&info))
	}
	return answer
}

// Session returns all about one session, if it has not ended.
func (s *Server) Session(id string) (api.Detail, bool) {
	all := s.choose(&selection{Filter: api.Filter{ID: id}})
	if id == "" || len(all) == 0 {
		return api.Detail{}, false
	}
	d := all[0].session.Detail()
	detail := api.Detail{Session: sessionOf(&d.Info), Local: d.Local, Framing: d.Framing.String(), Partial: d.Partial}
	if d.Known {
		detail.TCP = &api.TCP{
			State: d.TCP.State, RTT: d.TCP.RTT.Seconds(), RTTVariance: d.TCP.RTTVariance.Seconds(),
			Retransmits: d.TCP.Retransmits, SendWindow: d.TCP.SendWindow, ReceiveWindow: d.TCP.ReceiveWindow,
			Unacked: d.TCP.Unacked, Received: d.TCP.Received, Sent: d.TCP.Sent,
		}
	}
	return detail, true
}

func sessionOf(i *session.Info) api.Session {
	return api.Session{
		TLS: tlsOf(&i.Secured),
		ID:  i.ID, Listener: i.Listener, Remote: i.Remote, Proxy: i.Proxy, Mux: i.Mux, Upstream: i.Upstream, Model: i.Model,
		Phase: i.Phase.String(), State: i.State.String(), Opened: i.Opened, Heard: i.Heard,
		Records: i.Records, Bytes: i.Bytes, Unread: i.Unread, Survives: i.Survives,
	}
}

// Surviving returns how many clients would outlive this process now.
func (s *Server) Surviving() (n int) {
	for _, ss := range s.sessions() {
		if ss.Survives() {
			n++
		}
	}
	return n
}

// Kill ends the sessions that a filter matches, whatever its order and limit, and returns how many
// they are: what they have sent is recorded, with the reason session.ByKill. Sessions that have
// been handed to the next process, or end already, are not among them.
func (s *Server) Kill(f api.Filter) (killed int) {
	sel := selectionOf(f)
	for _, c := range s.choose(&sel) {
		if c.session.Kill() {
			killed++
		}
	}
	s.env.Ring()
	if killed > 0 {
		s.env.Log.Info("clients are ended on request", "clients", killed)
	}
	return killed
}
