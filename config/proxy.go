package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tcpmux/config/document"
	"tcpmux/config/fault"
	"tcpmux/config/notation"
)

// Proxy is what a listener with ServiceProxy connects its clients with.
type Proxy struct {
	// To are the upstreams, tried in their order: host:port or UnixScheme and a path. Empty
	// means that clients are not connected with anything.
	To []string
	// Header is the version of the PROXY header that an upstream gets: "v1", "v2" or "" for
	// none.
	Header string
	// ConnectTimeout is how long it may take until an upstream answers, all of them together.
	ConnectTimeout time.Duration
	// TLS reports whether upstreams are spoken to by TLS.
	TLS bool
	// CA is the file with the authorities of upstreams' certificates, in the form of
	// SecretPath; "" is for those of the system.
	CA string
	// ServerName is the name that an upstream's certificate must have; "" is the host in To.
	ServerName string
	// Certificate and Key are shown to upstreams that ask, in the form of SecretPath. Either
	// both are set or none.
	Certificate, Key string
}

// maxUpstreams is how many upstreams a listener may have.
const maxUpstreams = 16

// maxConnect bounds how long a client waits before it is told that nobody is there.
const maxConnect = 10 * time.Minute

const upstreamForm = `such as "192.0.2.1:8080", "example.net:8080" or "unix:/run/app.sock"`

// upstreams takes an upstream or an array of them.
func upstreams() kind[[]string] {
	const allowed = `an address host:port or "unix:" and a path, an array of them, or [] for none`
	read := func(v any, at place) (list []string, ok bool) {
		items, ok := v.([]any)
		if !ok {
			s, ok := upstream(v, at.Place)
			return []string{s}, ok
		}
		if len(items) > maxUpstreams {
			return nil, at.Fault("has %d upstreams, want at most %d", len(items), maxUpstreams)
		}
		ok = true
		for i, item := range items {
			s, valid := upstream(item, at.Item(i))
			if valid && slices.Contains(list, s) {
				valid = at.Item(i).Want(item, "each upstream once")
			}
			if !valid {
				ok = at.Fail()
				continue
			}
			list = append(list, s)
		}
		return list, ok
	}
	return kind[[]string]{allowed, read, addressTOML}
}

// upstream returns a value that is an upstream, or reports at its place what is wrong.
func upstream(v any, at document.Place) (string, bool) {
	s, _ := v.(string)
	if path, ok := strings.CutPrefix(s, UnixScheme); ok {
		if !validSocketPath(path) {
			return "", at.Want(v, unixForm)
		}
		return s, true
	}
	if addr, err := netip.ParseAddrPort(s); err == nil && addr.Addr().Zone() != "" {
		return s, addr.Port() != 0 || at.Want(v, "a port from 1 to 65535")
	}
	return s, validServer(s) || at.Want(v, "a host and the number of a port, "+upstreamForm)
}

// serverName takes a name or an address that a certificate may be for, or "".
func serverName() kind[string] {
	const allowed = `the name in an upstream's certificate, or "" for the host in proxy`
	read := func(v any, at place) (string, bool) {
		s, ok := v.(string)
		_, err := netip.ParseAddr(s)
		return s, ok && (s == "" || err == nil || hostForm().MatchString(s)) || at.Want(v, allowed)
	}
	return kind[string]{allowed, read, document.QuoteTOML}
}

// Proxies reports whether the listener connects its clients with upstreams.
func (l *Listener) Proxies() bool { return l.Service == ServiceProxy }

// checkProxy reports keys of a proxy that contradict each other. t is the listener's table.
func (t table) checkProxy(l Listener) {
	if t.At("proxy").Failed() {
		return
	}
	p := l.Proxy
	for _, half := range []struct{ key, value, other, with string }{
		{"proxy_certificate", p.Certificate, "proxy_key", p.Key}, {"proxy_key", p.Key, "proxy_certificate", p.Certificate},
	} {
		if half.value != "" && half.with == "" {
			t.Setting(half.key).Fault("is set without %s: want both", half.other)
		}
	}
	if at := t.Setting("proxy"); p.TLS && p.ServerName == "" {
		if i := slices.IndexFunc(p.To, func(s string) bool { return strings.HasPrefix(s, UnixScheme) }); i >= 0 {
			at.Fault("has %s, and proxy_tls%s: want proxy_server_name, the name in its certificate", fault.Quote(p.To[i]), t.Origin("proxy_tls"))
		}
	}
}

// checkProxyLoops reports proxies that connect with each other, so that a client would never get
// anywhere. Names are not looked up; what they lead to, limits bound.
func checkProxyLoops(c *Config, tables []table) {
	for i, l := range c.Listeners {
		if at := tables[i].Setting("proxy"); l.Proxies() && !at.Failed() {
			if way := c.loop(i); way != nil {
				at.Fault("has %s, which leads to this listener itself%s: want another upstream", fault.Quote(way[0]), behind(way))
			}
		}
	}
}

// behind says by which other listeners a loop goes.
func behind(way []string) string {
	if len(way) == 1 {
		return ""
	}
	var names []string
	for _, name := range way[1:] {
		names = append(names, fault.Quote(name))
	}
	return " (by way of listener " + strings.Join(names, ", ") + ")"
}

// loop returns how a client of the first listener comes back to it: an upstream, and the names of
// the listeners on the way; nil if it does not.
func (c *Config) loop(first int) (way []string) {
	seen := make([]bool, len(c.Listeners))
	var search func(at int) []string
	search = func(at int) []string {
		for _, to := range c.Listeners[at].Proxy.To {
			for i, l := range c.Listeners {
				switch {
				case !l.Proxies() && i != first || !l.answers(to):
				case i == first:
					return []string{to}
				case !seen[i]:
					seen[i] = true
					if rest := search(i); rest != nil {
						return append([]string{to, l.Name}, rest[1:]...)
					}
				}
			}
		}
		return nil
	}
	return search(first)
}

// answers reports whether who connects with an upstream is a client of this listener.
func (l *Listener) answers(upstream string) bool {
	if path := UnixPath(upstream); path != "" {
		return slices.Contains(l.Address, UnixScheme+filepath.Clean(path))
	}
	host, port, err := net.SplitHostPort(upstream)
	if err != nil {
		return false
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	to, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(l.Address, func(address string) bool {
		own, err := netip.ParseAddrPort(address)
		if err != nil || fmt.Sprint(own.Port()) != port {
			return false
		}
		wild := notation.Wildcard(to.Unmap())
		return own.Addr() == to.Unmap() || own.Addr() == wild && to.IsLoopback() || to.Unmap() == wild && own.Addr().IsLoopback()
	})
}
