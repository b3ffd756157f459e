package sockaddr

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Sources selects peers by where they come from. The zero value selects all. It is comparable.
type Sources struct {
	kind   sourcesKind
	prefix netip.Prefix
	uid    uint32
}

type sourcesKind uint8

const (
	everybody sourcesKind = iota
	network               // those with an address in prefix
	user                  // those of unix sockets with uid
	nobody
)

// Nobody selects no peer.
var Nobody = Sources{kind: nobody}

const uidPrefix = "uid="

// ParseSources returns what s stands for: an address or a prefix of addresses, or "uid=N" for the
// clients of unix sockets that are of a user. "" is everybody. ok is false if s is none of these:
// then it is Nobody.
func ParseSources(s string) (src Sources, ok bool) {
	if s == "" {
		return Sources{}, true
	}
	if IsUser(s) {
		uid, err := ParseUser(s)
		if err != nil {
			return Nobody, false
		}
		return Sources{kind: user, uid: uid}, true
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap().WithZone("")
		return Sources{kind: network, prefix: netip.PrefixFrom(addr, addr.BitLen())}, true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return Nobody, false
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return Sources{kind: network, prefix: p}, true
}

// IsUser reports whether s is meant as a user: it begins with "uid=".
func IsUser(s string) bool { return strings.HasPrefix(s, uidPrefix) }

// ParseUser returns the user that "uid=N" stands for.
func ParseUser(s string) (uid uint32, err error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, uidPrefix), 10, 32)
	if !IsUser(s) || err != nil {
		return 0, fmt.Errorf("%.200q is no user, want uid= and a number, such as uid=1000", s)
	}
	return uint32(n), nil
}

// FormatUser returns "uid=N".
func FormatUser(uid uint32) string { return uidPrefix + strconv.FormatUint(uint64(uid), 10) }

// Everybody reports whether s selects all peers.
func (s Sources) Everybody() bool { return s.kind == everybody }

// Contains reports whether s selects p.
func (s Sources) Contains(p Peer) bool {
	switch s.kind {
	case everybody:
		return true
	case network:
		return !p.Unix && s.prefix.Contains(p.Addr.Addr().Unmap().WithZone(""))
	case user:
		return p.Unix && s.uid == p.UID
	}
	return false
}
