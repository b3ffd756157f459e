package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits are the limits over all listeners together.
type Limits struct {
	// Clients is the number of clients that are served at once. More wait in the backlog.
	Clients int
	// Memory is the number of bytes of incomplete messages that the daemon holds. Beyond it they
	// are recorded in pieces.
	Memory int64
	// SourcePrefix is what counts as one source.
	SourcePrefix SourcePrefix
	// PerSource applies over all listeners together.
	PerSource
	// Policy is inherited by every listener.
	Policy
}

// ListenerLimits are the limits of one listener. Clients and PerSource apply in addition to those
// of Limits.
type ListenerLimits struct {
	// Clients is the number of clients that the listener serves at once; 0 means no limit. More
	// wait in the backlog.
	Clients int
	// PerSource applies to the clients of this listener alone.
	PerSource
	// Policy is that of Limits where the listener has no value of its own.
	Policy
}

// PerSource limits the clients of one source.
type PerSource struct {
	// ClientsPerSource is the number of clients that a source may have at once; 0 means no limit.
	ClientsPerSource int
	// RatePerSource is the rate of new clients of a source.
	RatePerSource Rate
}

// Policy is who may connect, and for how long.
type Policy struct {
	// Allow and Deny are networks of clients. The longest prefix that contains an address decides;
	// an address that is in none is allowed if Allow is empty. No prefix is in both. Each is
	// masked, and none is IPv4-mapped.
	Allow, Deny []netip.Prefix
	// Rules is the path of a file with more of both, which LoadRules could read; "" means none. A
	// prefix that one of file and configuration allows and the other denies is denied.
	Rules string
	// Refusal is sent to a refused client before it is closed.
	Refusal Bytes
	// AccessTimes are when clients are accepted. Empty means always.
	AccessTimes []Window
	// MaxSession is how long a client may stay; 0 means no limit.
	MaxSession time.Duration
	// MaxSessionBytes is the number of bytes that a client may send; 0 means no limit.
	MaxSessionBytes int64
	// MessageTimeout is how long a message, or a piece of one, may take to arrive; 0 means no
	// timeout.
	MessageTimeout time.Duration
}

// SourcePrefix is the number of leading bits that make addresses of each family one source.
type SourcePrefix struct {
	IPv4 int // 1 to 32
	IPv6 int // 1 to 128
}

// String returns the prefixes as they are written in a file.
func (p SourcePrefix) String() string { return fmt.Sprintf("%d/%d", p.IPv4, p.IPv6) }

// Rate is a count per second, minute or hour. The zero value is no limit.
type Rate struct {
	Count int
	Per   time.Duration
}

// ratePer are the units of a rate.
var ratePer = []struct {
	name string
	per  time.Duration
}{{"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}}

// String returns the rate as it is written in a file.
func (r Rate) String() string {
	for _, u := range ratePer {
		if r.Count > 0 && r.Per == u.per {
			return fmt.Sprintf("%d/%s", r.Count, u.name)
		}
	}
	return ""
}

// checkPolicy reports prefixes that are both allowed and denied, for a table with one of the keys.
func (t table) checkPolicy(p Policy) {
	own, ok := t.values["limits"].(map[string]any)
	_, allow := own["allow"]
	_, deny := own["deny"]
	if !ok || !allow && !deny {
		return
	}
	name, other := "deny", "allow"
	if !deny {
		name, other = "allow", "deny"
	}
	at := t.setting("limits", name)
	for _, prefix := range p.Deny {
		if !t.doc.failed[at.path] && slices.Contains(p.Allow, prefix) {
			at.fault("has %q, which is also in %s%s: want it in one of them", prefix, other, t.origin("limits", other))
		}
	}
}

func sourcePrefix() kind[SourcePrefix] {
	const allowed = `prefix lengths for IPv4 (1 to 32) and IPv6 (1 to 128), such as "32/64"`
	read := func(v any, at place) (SourcePrefix, bool) {
		s, _ := v.(string)
		v4, v6, _ := strings.Cut(s, "/")
		n4, err4 := strconv.ParseUint(v4, 10, 8)
		n6, err6 := strconv.ParseUint(v6, 10, 8)
		if err4 != nil || err6 != nil || n4 < 1 || n4 > 32 || n6 < 1 || n6 > 128 {
			return SourcePrefix{}, at.want(v, allowed)
		}
		return SourcePrefix{int(n4), int(n6)}, true
	}
	return kind[SourcePrefix]{allowed, read, func(p SourcePrefix) string { return quoteTOML(p.String()) }}
}

func rate() kind[Rate] {
	allowed := fmt.Sprintf(`1 to %d per second, minute or hour, such as "10/s", "100/m" or "1000/h", or "" for no limit`, maxCount)
	read := func(v any, at place) (Rate, bool) {
		s, ok := v.(string)
		r, fits := parseRate(s)
		return r, ok && fits || at.want(v, allowed)
	}
	return kind[Rate]{allowed, read, func(r Rate) string { return quoteTOML(r.String()) }}
}

func parseRate(s string) (Rate, bool) {
	if s == "" {
		return Rate{}, true
	}
	count, unit, _ := strings.Cut(s, "/")
	n, err := strconv.ParseUint(count, 10, 32)
	for _, u := range ratePer {
		if u.name == unit && err == nil && 1 <= n && n <= maxCount {
			return Rate{int(n), u.per}, true
		}
	}
	return Rate{}, false
}

// prefixes takes an array of networks and addresses.
func prefixes() kind[[]netip.Prefix] {
	const allowed = "an array of networks and addresses"
	read := func(v any, at place) (list []netip.Prefix, ok bool) {
		items, ok := v.([]any)
		if !ok {
			return nil, at.want(v, allowed+`, such as ["192.0.2.0/24", "2001:db8::/32"]`)
		}
		for i, item := range items {
			s, _ := item.(string)
			p, want := parsePrefix(s)
			if want != "" {
				at.item(i).want(item, want)
				continue
			}
			list = append(list, p)
		}
		return list, true
	}
	return kind[[]netip.Prefix]{allowed, read, prefixesTOML}
}

// parsePrefix reads a network, or an address as the network of it alone. An IPv4-mapped address
// becomes IPv4.
func parsePrefix(s string) (p netip.Prefix, want string) {
	const form = `a network or an address, such as "192.0.2.0/24", "2001:db8::/32" or "192.0.2.7"`
	p, err := netip.ParsePrefix(s)
	if addr, aerr := netip.ParseAddr(s); aerr == nil && addr.Zone() == "" {
		p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err != nil {
		return p, form
	}
	if addr := p.Addr(); addr.Is4In6() {
		if p.Bits() < 96 {
			return p, "an IPv4 network in its own notation: " + form
		}
		p = netip.PrefixFrom(addr.Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return p, fmt.Sprintf("no bits after those of the network: %q", p.Masked())
	}
	return p, ""
}

func prefixesTOML(list []netip.Prefix) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = quoteTOML(p.String())
		if p.IsSingleIP() {
			texts[i] = quoteTOML(p.Addr().String())
		}
	}
	return "[" + strings.Join(texts, ", ") + "]"
}
