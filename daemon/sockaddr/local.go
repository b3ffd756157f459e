package sockaddr

import (
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"unicode"
)

// Local is what a socket of ours is bound to: an address with a port, or the path of a unix socket.
// The zero value is nothing. It is comparable.
type Local struct {
	netip.AddrPort
	// Path is that of a unix socket, which has no address.
	Path string
}

// unixScheme is what the path of a unix socket follows in its notation.
const unixScheme = "unix:"

// LocalOf returns what a socket with the name sa is bound to; the zero value if sa is of another
// family than IPv4, IPv6 and unix. A unix socket without a name has the path "@".
func LocalOf(sa syscall.Sockaddr) Local {
	if local, ok := sa.(*syscall.SockaddrUnix); ok {
		if local.Name == "" {
			return Local{Path: "@"}
		}
		return Local{Path: local.Name}
	}
	return Local{AddrPort: From(sa)}
}

// ParseLocal returns what String has returned s for; the zero value if there is nothing.
func ParseLocal(s string) Local {
	if path, found := strings.CutPrefix(s, unixScheme); found {
		return Local{Path: path}
	}
	addr, _ := netip.ParseAddrPort(s) // the zero value is nothing
	return Local{AddrPort: addr}
}

// Unix reports whether it is a unix socket.
func (l Local) Unix() bool { return l.Path != "" }

// IsValid reports whether l is anything.
func (l Local) IsValid() bool { return l.Unix() || l.AddrPort.IsValid() }

// String returns the address and the port, or "unix:" and the path, as the configuration has them.
// A path that the configuration cannot have is quoted, so that the text is safe to print.
func (l Local) String() string { return string(l.AppendTo(nil)) }

// AppendTo appends String to b.
func (l Local) AppendTo(b []byte) []byte {
	switch {
	case !l.Unix():
		return l.AddrPort.AppendTo(b)
	case strings.ContainsFunc(l.Path, func(r rune) bool { return !unicode.IsPrint(r) }):
		return strconv.AppendQuote(append(b, unixScheme...), l.Path)
	}
	return append(append(b, unixScheme...), l.Path...)
}
