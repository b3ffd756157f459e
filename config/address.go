package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"tcpmux/config/document"
	"tcpmux/config/fault"
	"tcpmux/config/notation"
)

// addresses takes one address or an array of at least one. With a meaning for [] it takes that too.
func addresses(none string) kind[[]string] { return addressesOf("an address host:port", none, false) }

// listenerAddresses is addresses, and takes unix sockets too.
func listenerAddresses(none string) kind[[]string] {
	return addressesOf(`an address host:port or "unix:" and a path`, none, true)
}

func addressesOf(one, none string, sockets bool) kind[[]string] {
	allowed := one + ", or an array of them"
	if none != "" {
		allowed = one + ", an array of them, or [] " + none
	}
	read := func(v any, at place) (list []string, ok bool) {
		items, ok := v.([]any)
		if !ok {
			return at.reader.bind(at.Place, v, sockets), true
		}
		if len(items) == 0 && none == "" {
			return nil, at.Want(v, notation.AddressForm)
		}
		for i, item := range items {
			list = append(list, at.reader.bind(at.Item(i), item, sockets)...)
		}
		return list, true
	}
	return kind[[]string]{allowed, read, addressTOML}
}

func addressTOML(list []string) string {
	if len(list) == 1 {
		return document.QuoteTOML(list[0])
	}
	return document.ArrayTOML(list)
}

// bound is one address that one socket will be bound to.
type bound struct {
	at   document.Place
	text string // as it is written in the file
	addr netip.AddrPort
	path string // of a unix socket, which has no addr
}

// bind notes the address v for the search for conflicts, and returns it in Go's spelling: several
// where it stands for several. sockets reports whether it may be a unix socket.
func (r *reader) bind(at document.Place, v any, sockets bool) []string {
	s, _ := v.(string)
	if path, found := strings.CutPrefix(s, UnixScheme); found && sockets {
		if !validSocketPath(path) {
			at.Want(v, unixForm)
			return nil
		}
		path = filepath.Clean(path)
		r.bound = append(r.bound, bound{at: at, text: s, path: path})
		return []string{UnixScheme + path}
	}
	addrs, want := notation.ParseAddress(s)
	if want != "" && sockets && strings.HasPrefix(s, "/") {
		want = `"unix:" before the path of a unix socket, such as "unix:/run/app.sock"`
	}
	if want != "" {
		at.Want(v, want)
		return nil
	}
	list := make([]string, len(addrs))
	for i, a := range addrs {
		list[i] = a.String()
		r.bound = append(r.bound, bound{at: at, text: s, addr: a})
	}
	return list
}

// checkAddresses reports addresses that cannot be bound together: one that is listed twice, or one
// and the wildcard of its family.
func (r *reader) checkAddresses() {
	// By address; the first of each family and port is also there by its wildcard.
	owners := map[netip.AddrPort]bound{}
	paths := map[string]bound{}
	for _, b := range r.bound {
		if other, taken := paths[b.path]; taken {
			b.conflict(other)
		} else if b.path != "" {
			paths[b.path] = b
		}
		if b.addr.Port() == 0 {
			continue
		}
		wild := netip.AddrPortFrom(notation.Wildcard(b.addr.Addr()), b.addr.Port())
		other, taken := owners[b.addr]
		if !taken {
			other, taken = owners[wild]
			taken = taken && other.addr == wild
		}
		if taken {
			b.conflict(other)
			continue
		}
		owners[b.addr] = b
		if _, ok := owners[wild]; !ok {
			owners[wild] = b
		}
	}
}

// conflict reports that b cannot be bound because of another address.
func (b bound) conflict(other bound) {
	what, where := "want one that is free", fmt.Sprintf(" (%s)", other.at.Seen(b.at))
	if b.addr == other.addr && b.path == other.path {
		what = "which is listed twice"
	}
	if other.at.Line() == 0 { // a default stands on no line
		where = " by default (address = [] at the top removes it)"
		if b.at.File() != other.at.File() {
			where = fmt.Sprintf(" by default (address = [] in %s removes it)", fault.Printable(other.at.File()))
		}
	}
	b.at.Fault("is %s, %s: %s has %s%s", fault.Quote(b.text), what, other.owner(), fault.Quote(other.text), where)
}

// owner names the key that has the address.
func (b bound) owner() string {
	if listener, ok := strings.CutSuffix(b.at.Name(), ": address"); ok {
		return listener
	}
	if name := b.at.Name(); strings.Contains(name, ".") {
		return name
	}
	return "the top-level address"
}
