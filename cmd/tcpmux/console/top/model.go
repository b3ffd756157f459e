package top

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tcpmux/cmd/tcpmux/console/view"
	"tcpmux/config/notation"
	"tcpmux/daemon/control/api"
	"tcpmux/daemon/sockaddr"
)

// mostSessions is how many sessions are asked for at once, so that top costs the daemon little
// however many clients there are. Those that sort first come.
const mostSessions = 500

// mode is what the keys mean.
type mode uint8

const (
	inList mode = iota
	inDetail
	inHelp
	inFilter  // typing a filter
	inConfirm // of a kill
)

// order is a way to sort sessions.
type order struct {
	name string
	// ask is the key by which the daemon sorts, so that those that matter here come first.
	ask     string
	compare func(a, b *session) int
}

// orders are the ways to sort. The first one is the default.
var orders = []order{
	{"bytes/s", "-heard", func(a, b *session) int { return cmp.Compare(b.bytesRate, a.bytesRate) }},
	{"records/s", "-heard", func(a, b *session) int { return cmp.Compare(b.recordsRate, a.recordsRate) }},
	{"bytes", "-bytes", func(a, b *session) int { return cmp.Compare(b.Bytes, a.Bytes) }},
	{"records", "-records", func(a, b *session) int { return cmp.Compare(b.Records, a.Records) }},
	{"idle", "heard", func(a, b *session) int { return heard(a).Compare(heard(b)) }},
	{"newest", "-opened", func(a, b *session) int { return b.Opened.Compare(a.Opened) }},
	{"remote", "remote", func(a, b *session) int { return strings.Compare(a.Remote, b.Remote) }},
}

// heard is when something was last heard of a session.
func heard(s *session) time.Time {
	if s.Heard.After(s.Opened) {
		return s.Heard
	}
	return s.Opened
}

// session is a session with what it did in a second, as far as that is known.
type session struct {
	api.Session
	bytesRate, recordsRate float64
}

// totals are the counts of a session at an earlier time.
type totals struct{ bytes, records int64 }

// question is what is asked of the daemon.
type question struct {
	filter api.Filter
	detail string // the selected session; "": none
}

// answer is what the daemon said.
type answer struct {
	now      time.Time
	status   api.Status
	sessions api.Sessions
	asked    string      // the session whose detail was asked for
	detail   *api.Detail // nil: not asked for, or gone
	err      error
}

// model is what is shown. It knows no terminal and no daemon.
type model struct {
	answer
	at       time.Time // of the last good answer
	list     []session // filtered and sorted
	all      []session // as the daemon sent them
	earlier  map[string]totals
	order    int
	reversed bool
	filter   string // shown are sessions that hold it
	typed    string // the filter while it is typed
	selected string // ID of the selected session; "": none
	first    int    // index of the first session on the screen
	rows     int    // how many sessions fitted on the screen
	mode     mode
	back     mode   // to which a question about killing returns
	victim   string // whom that question is about
	message  string // of the last command
	paused   bool
}

// question returns what to ask for.
func (m *model) question() question {
	q := question{filter: api.Filter{Sort: m.askOrder(), Limit: mostSessions}, detail: m.selected}
	if m.filter != "" {
		q.filter.Limit = 0 // those that hold it may be among the others
		if p, want := notation.ParseNetwork(m.filter); want == "" {
			q.filter.Source, q.filter.Limit = notation.FormatNetwork(p), mostSessions
		}
	}
	return q
}

// askOrder returns the daemon's name of the order.
func (m *model) askOrder() string {
	key := orders[m.order].ask
	if !m.reversed {
		return key
	}
	if plain, ok := strings.CutPrefix(key, "-"); ok {
		return plain
	}
	return "-" + key
}

// take takes an answer. An answer that is an error leaves what is shown.
func (m *model) take(a answer) {
	if m.err = a.err; a.err != nil {
		return
	}
	m.keepSelected(&a)
	seconds := a.now.Sub(m.at).Seconds()
	earlier := make(map[string]totals, len(a.sessions.Sessions))
	m.all = make([]session, 0, len(a.sessions.Sessions))
	for i := range a.sessions.Sessions {
		s := session{Session: a.sessions.Sessions[i]}
		if was, ok := m.earlier[s.ID]; ok && seconds > 0 && s.Bytes >= was.bytes {
			s.bytesRate = float64(s.Bytes-was.bytes) / seconds
			s.recordsRate = float64(s.Records-was.records) / seconds
		}
		earlier[s.ID] = totals{s.Bytes, s.Records}
		m.all = append(m.all, s)
	}
	row := m.index()
	m.answer, m.at, m.earlier = a, a.now, earlier
	if m.arrange(); m.mode == inList && row >= 0 && m.index() < 0 && len(m.list) > 0 {
		m.selected = m.list[min(row, len(m.list)-1)].ID // the next one is in its place
	}
}

// keepSelected adds the selected session to an answer in which it is not among the first ones. If
// it is gone, what was last known of it stays.
func (m *model) keepSelected(a *answer) {
	switch {
	case m.selected == "":
		a.detail = nil
	case a.asked != m.selected: // it was selected after that question
		a.detail = m.detail
	case a.detail == nil:
		if a.detail = m.detail; m.mode == inDetail || m.back == inDetail && m.mode == inConfirm {
			m.message = "session " + m.selected + " has ended"
		}
	case !slices.ContainsFunc(a.sessions.Sessions, func(s api.Session) bool { return s.ID == m.selected }):
		a.sessions.Sessions = append(a.sessions.Sessions, a.detail.Session)
	}
	if a.detail != nil && a.detail.ID != m.selected {
		a.detail = nil
	}
}

// arrange filters and sorts the sessions again.
func (m *model) arrange() {
	m.list = m.list[:0]
	for _, s := range m.all {
		if m.matches(&s) {
			m.list = append(m.list, s)
		}
	}
	by := orders[m.order].compare
	slices.SortStableFunc(m.list, func(a, b session) int {
		d := by(&a, &b)
		if m.reversed {
			d = -d
		}
		return cmp.Or(d, strings.Compare(a.ID, b.ID))
	})
}

// matches reports whether a session holds the filter.
func (m *model) matches(s *session) bool {
	if m.filter == "" {
		return true
	}
	if p, want := notation.ParseNetwork(m.filter); want == "" {
		return p.Contains(host(s.Remote))
	}
	for _, field := range []string{s.ID, s.Listener, view.Peer(&s.Session), s.State, s.Phase} {
		if strings.Contains(field, m.filter) {
			return true
		}
	}
	return false
}

// host returns the address of host:port; the zero address if it has none.
func host(remote string) netip.Addr {
	a, _ := netip.ParseAddrPort(remote) // the zero value on error
	return a.Addr().Unmap()
}

// index returns the index of the selected session, -1 if it is not in the list.
func (m *model) index() int {
	return slices.IndexFunc(m.list, func(s session) bool { return s.ID == m.selected })
}

// source is the sum of the sessions from one address.
type source struct {
	host    string
	clients int
	rate    float64
}

// sources returns the addresses of all sessions, the busiest first.
func (m *model) sources() []source {
	by := map[string]*source{}
	for i := range m.all {
		name := m.all[i].Remote
		if a := host(name); a.IsValid() {
			name = a.String()
		} else if sockaddr.IsUser(name) {
			name, _, _ = strings.Cut(name, ",") // of all processes of a user
		}
		if by[name] == nil {
			by[name] = &source{host: name}
		}
		by[name].clients++
		by[name].rate += m.all[i].bytesRate
	}
	list := make([]source, 0, len(by))
	for _, s := range by {
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b source) int {
		return cmp.Or(cmp.Compare(b.rate, a.rate), cmp.Compare(b.clients, a.clients), strings.Compare(a.host, b.host))
	})
	return list
}
