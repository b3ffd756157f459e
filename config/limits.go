package config

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"tcpmux/config/document"
	"tcpmux/config/notation"
)

// Limits are the limits over all listeners together.
type Limits struct {
	// Clients is the number of clients that are served at once. More wait in the backlog.
	Clients int
	// Memory is the number of bytes of incomplete messages that the daemon holds. Beyond it
	// they are recorded in pieces.
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
	// ClientsPerSource is the number of clients that a source may have at once; 0 means no
	// limit.
	ClientsPerSource int
	// RatePerSource is the rate of new clients of a source.
	RatePerSource Rate
}

// Policy is who may connect, and for how long.
type Policy struct {
	// Allow and Deny are networks of clients. The longest prefix that contains an address
	// decides; an address that is in none is allowed if Allow is empty. No prefix is in both.
	// Each is masked, and none is IPv4-mapped.
	Allow, Deny []netip.Prefix
	// Rules is the path of a file with more of both, which LoadRules could read; "" means none.
	// A prefix that one of file and configuration allows and the other denies is denied.
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

// Values of the limits, in their own notation.
type (
	// SourcePrefix is the number of leading bits that make addresses of each family one source.
	SourcePrefix = notation.SourcePrefix
	// Rate is a count per second, minute or hour. The zero value is no limit.
	Rate = notation.Rate
	// Window is a time of the week, in the machine's time zone.
	Window = notation.Window
)

// checkPolicy reports prefixes that are both allowed and denied, for a table with one of the keys.
func (t table) checkPolicy(p Policy) {
	own, ok := t.Values["limits"].(map[string]any)
	_, allow := own["allow"]
	_, deny := own["deny"]
	if !ok || !allow && !deny {
		return
	}
	name, other := "deny", "allow"
	if !deny {
		name, other = "allow", "deny"
	}
	at := t.Setting("limits", name)
	for _, prefix := range p.Deny {
		if !at.Failed() && slices.Contains(p.Allow, prefix) {
			at.Fault("has %q, which is also in %s%s: want it in one of them", prefix, other, t.Origin("limits", other))
		}
	}
}

func sourcePrefix() kind[SourcePrefix] {
	const allowed = `prefix lengths for IPv4 (1 to 32) and IPv6 (1 to 128), such as "32/64"`
	read := func(v any, at place) (SourcePrefix, bool) {
		s, _ := v.(string)
		p, ok := notation.ParseSourcePrefix(s)
		return p, ok || at.Want(v, allowed)
	}
	return kind[SourcePrefix]{allowed, read, func(p SourcePrefix) string { return document.QuoteTOML(p.String()) }}
}

func rate() kind[Rate] {
	allowed := fmt.Sprintf(`1 to %d per second, minute or hour, such as "10/s", "100/m" or "1000/h", or "" for no limit`, maxCount)
	read := func(v any, at place) (Rate, bool) {
		s, ok := v.(string)
		r, fits := notation.ParseRate(s)
		return r, ok && fits && r.Count <= maxCount || at.Want(v, allowed)
	}
	return kind[Rate]{allowed, read, func(r Rate) string { return document.QuoteTOML(r.String()) }}
}

// prefixes takes an array of networks and addresses.
func prefixes() kind[[]netip.Prefix] {
	const allowed = "an array of networks and addresses"
	read := func(v any, at place) (list []netip.Prefix, ok bool) {
		items, ok := v.([]any)
		if !ok {
			return nil, at.Want(v, allowed+`, such as ["192.0.2.0/24", "2001:db8::/32"]`)
		}
		for i, item := range items {
			s, _ := item.(string)
			p, want := notation.ParseNetwork(s)
			if want != "" {
				at.Item(i).Want(item, want)
				continue
			}
			list = append(list, p)
		}
		return list, true
	}
	return kind[[]netip.Prefix]{allowed, read, prefixesTOML}
}

func prefixesTOML(list []netip.Prefix) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = notation.FormatNetwork(p)
	}
	return document.ArrayTOML(texts)
}

// windows takes an array of windows.
func windows() kind[[]Window] {
	const allowed = "an array of times of the week"
	const form = `such as "08:00-18:00", "Mon-Fri 08:00-18:00" or "Sat,Sun 22:00-06:00"`
	read := func(v any, at place) (list []Window, ok bool) {
		items, ok := v.([]any)
		if !ok {
			return nil, at.Want(v, allowed+", "+form)
		}
		for i, item := range items {
			s, _ := item.(string)
			w, ok := notation.ParseWindow(s)
			if !ok {
				at.Item(i).Want(item, "a time of the week, "+form)
				continue
			}
			list = append(list, w)
		}
		return list, true
	}
	return kind[[]Window]{allowed, read, windowsTOML}
}

func windowsTOML(list []Window) string {
	texts := make([]string, len(list))
	for i, w := range list {
		texts[i] = w.String()
	}
	return document.ArrayTOML(texts)
}
