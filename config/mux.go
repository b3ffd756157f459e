package config

import (
	"fmt"
	"slices"
	"strings"

	"tcpmux/config/document"
	"tcpmux/config/fault"
)

// maxMux is how many listeners a mux may have.
const maxMux = 1000

// MuxHelp is the name for which a mux returns those of its listeners (RFC 1078). Its case does not
// matter.
const MuxHelp = "HELP"

// Muxes reports whether the listener has clients name the listener that is to serve them.
func (l *Listener) Muxes() bool { return len(l.Mux) > 0 }

// muxNames takes an array of names of listeners.
func muxNames() kind[[]string] {
	const allowed = "an array of names of listeners, or [] for none"
	read := func(v any, at place) (list []string, ok bool) {
		items, ok := v.([]any)
		if !ok {
			return nil, at.Want(v, allowed+`, such as ["scanner", "telnet"]`)
		}
		if len(items) > maxMux {
			return nil, at.Fault("has %d names, want at most %d", len(items), maxMux)
		}
		for i, item := range items {
			s, _ := item.(string)
			if want := muxNameProblem(s, list); want != "" {
				at.Fail()
				ok = at.Item(i).Want(item, want)
				continue
			}
			list = append(list, s)
		}
		return list, ok
	}
	return kind[[]string]{allowed, read, document.ArrayTOML}
}

// muxNameProblem returns what is wanted in place of a name that follows others, or "" if it is one.
// Clients may write names in any case.
func muxNameProblem(s string, others []string) (want string) {
	same := func(other string) bool { return strings.EqualFold(s, other) }
	switch i := slices.IndexFunc(others, same); {
	case !nameForm().MatchString(s):
		return "the name of a listener"
	case same(MuxHelp):
		return "another name: clients ask by this one for the names that there are"
	case i >= 0 && others[i] == s:
		return "each name once"
	case i >= 0:
		return fmt.Sprintf("a name that differs from %q in more than case", others[i])
	}
	return ""
}

// checkMuxes reports muxes with listeners that they cannot have, and listeners that nobody reaches.
// It notes in each listener the muxes that it has. tables are those of the listeners, in their
// order.
func (r *reader) checkMuxes(c *Config, tables []table) {
	named := slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.Muxes() })
	unsure := r.partial || r.AnyFailed("mux") || named && r.AnyFailed("name")
	for i := range c.Listeners {
		mux := &c.Listeners[i]
		if !mux.Muxes() {
			continue
		}
		if at := tables[i].At("address"); len(mux.Address) == 0 && !at.Failed() {
			tables[i].At("mux").Fault("is set without an address: want address, where clients name the listener that is to serve them")
		}
		for n, name := range mux.Mux {
			at := tables[i].At("mux").Item(n)
			target := slices.IndexFunc(c.Listeners, func(l Listener) bool { return l.Name == name })
			if target >= 0 {
				check := muxCheck{at, mux, tables[i], &c.Listeners[target], tables[target]}
				check.run(r)
			} else if !unsure {
				at.Fault("has %s, which is no listener%s", fault.Quote(name), muxable(c, mux))
			}
		}
	}
	for i, l := range c.Listeners {
		if len(l.Address)+len(l.MuxedBy)+len(l.Mux) == 0 && !unsure {
			tables[i].unreached()
		}
	}
}

// unreached reports a listener that no client reaches.
func (t table) unreached() {
	const want = `an address host:port or "unix:" and a path, an array of them, or the name of the listener in mux of another one`
	switch at := t.At("address"); {
	case at.Failed():
	case t.Values["address"] == nil:
		t.Missing("address", want)
	default:
		at.Want([]any{}, want)
	}
}

// muxable returns which listeners a mux can have, for a message.
func muxable(c *Config, mux *Listener) string {
	var names []string
	for _, l := range c.Listeners {
		if !l.Muxes() && !slices.Contains(mux.Mux, l.Name) && len(names) < fault.Most {
			names = append(names, fault.Quote(l.Name))
		}
	}
	switch len(names) {
	case 0:
		return ": want names of [[listener]] tables"
	case 1:
		return ": want " + names[0]
	}
	return ": want " + choice(names)
}

// muxCheck checks one of the listeners of a mux.
type muxCheck struct {
	at     document.Place // of its name
	mux    *Listener
	own    table // of mux
	target *Listener
	theirs table // of target
}

// run reports why the mux cannot have the listener, or notes that it has.
func (m *muxCheck) run(r *reader) {
	if m.target.Muxes() {
		// So there is no circle, and a client names a listener once.
		m.at.Fault("has %s, which is a mux itself: want listeners that serve clients", fault.Quote(m.target.Name))
		return
	}
	m.target.MuxedBy = append(m.target.MuxedBy, m.mux.Name)
	if !r.AnyFailed("proxy_protocol") {
		m.proxies()
	}
	if key := differsInTLS(m.mux.TLS, m.target.TLS); key != "" && !r.AnyFailed("certificate", key) {
		m.at.Fault("has %s, whose tls.%s%s differs from that of the mux, although the mux has made the handshake: want both alike, or clear text for one of them (tls.certificate = \"\")",
			fault.Quote(m.target.Name), key, m.theirs.Origin("tls", key))
	}
}

// proxies reports a listener whose clients come through proxies that the mux does not know as such:
// the PROXY header stands before the name.
func (m *muxCheck) proxies() {
	if len(m.target.ProxyProtocol) > 0 && !slices.Equal(m.target.ProxyProtocol, m.mux.ProxyProtocol) {
		m.at.Fault("has %s, whose proxy_protocol%s differs from that of the mux, which reads the header before the name: want both alike, or proxy_protocol = [] for %[1]s",
			fault.Quote(m.target.Name), m.theirs.Origin("proxy_protocol"))
	}
}

// differsInTLS returns the first key of [tls] in which the listeners of a mux must be as the mux,
// and differ; "" if there is none. A client that the mux has made the handshake with must have
// passed all that its listener asks of it.
func differsInTLS(mux, target TLS) string {
	if !mux.On() || !target.On() {
		return ""
	}
	for _, c := range []struct {
		key  string
		same bool
	}{
		{"certificate", mux.Certificate == target.Certificate},
		{"key", mux.Key == target.Key},
		{"client_ca", mux.ClientCA == target.ClientCA},
		{"client_auth", mux.ClientAuth == target.ClientAuth},
		{"crl", mux.CRL == target.CRL},
		{"allow_subjects", slices.Equal(mux.AllowSubjects, target.AllowSubjects)},
		{"deny_subjects", slices.Equal(mux.DenySubjects, target.DenySubjects)},
		{"min_version", mux.MinVersion == target.MinVersion},
		{"survive", mux.Survive == target.Survive},
	} {
		if !c.same {
			return c.key
		}
	}
	return ""
}

// contradictMux reports a mux that would serve its clients itself.
func (t table) contradictMux(l Listener) bool {
	key, what := "exec", "runs a program for each client"
	if len(l.Exec) == 0 {
		key, what = "proxy", "connects clients with an upstream"
	}
	return t.At("mux").Fault("is set, and %s%s %s: want %[1]s = [], or mux = []", key, t.Origin(key), what)
}

// SettleMuxes makes a configuration that has been put together of two a whole again: a mux has only
// listeners that are there and that it can have, and one without an address that no mux has is not
// there. A mux of which no listener is left keeps its names.
func (c *Config) SettleMuxes() {
	for i := range c.Listeners {
		c.Listeners[i].MuxedBy = nil
	}
	for i := range c.Listeners {
		mux := &c.Listeners[i]
		left := slices.DeleteFunc(slices.Clone(mux.Mux), func(name string) bool {
			target := slices.IndexFunc(c.Listeners, func(l Listener) bool { return l.Name == name })
			return target < 0 || !mux.canHave(&c.Listeners[target])
		})
		if len(left) == 0 {
			continue
		}
		mux.Mux = left
		for t := range c.Listeners {
			if l := &c.Listeners[t]; slices.Contains(left, l.Name) {
				l.MuxedBy = append(l.MuxedBy, mux.Name)
			}
		}
	}
	c.Listeners = slices.DeleteFunc(c.Listeners, func(l Listener) bool { return len(l.Address)+len(l.MuxedBy)+len(l.Mux) == 0 })
}

// canHave reports whether the listener may be one of a mux.
func (l *Listener) canHave(target *Listener) bool {
	return !target.Muxes() && differsInTLS(l.TLS, target.TLS) == "" &&
		(len(target.ProxyProtocol) == 0 || slices.Equal(target.ProxyProtocol, l.ProxyProtocol))
}
