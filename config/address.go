package config

import (
	"fmt"
	"net/netip"
	"strings"

	"tcpmux/config/document"
	"tcpmux/config/fault"
	"tcpmux/config/notation"
)

// addresses takes one address or an array of at least one. With a meaning for [] it takes that too.
func addresses(none string) kind[[]string] {
	allowed := "an address host:port, or an array of them"
	if none != "" {
		allowed = "an address host:port, an array of them, or [] " + none
	}
	read := func(v any, at place) (list []string, ok bool) {
		items, ok := v.([]any)
		if !ok {
			return at.reader.bind(at.Place, v), true
		}
		if len(items) == 0 && none == "" {
			return nil, at.Want(v, notation.AddressForm)
		}
		for i, item := range items {
			list = append(list, at.reader.bind(at.Item(i), item)...)
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
}

// bind notes the address v for the search for conflicts, and returns it in Go's spelling: several
// where it stands for several.
func (r *reader) bind(at document.Place, v any) []string {
	s, _ := v.(string)
	addrs, want := notation.ParseAddress(s)
	if want != "" {
		at.Want(v, want)
		return nil
	}
	list := make([]string, len(addrs))
	for i, a := range addrs {
		list[i] = a.String()
		r.bound = append(r.bound, bound{at, s, a})
	}
	return list
}

// checkAddresses reports addresses that cannot be bound together: one that is listed twice, or one
// and the wildcard of its family.
func (r *reader) checkAddresses() {
	// By address; the first of each family and port is also there by its wildcard.
	owners := map[netip.AddrPort]bound{}
	for _, b := range r.bound {
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
	if b.addr == other.addr {
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
