package framing

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

const (
	// MaxDelimiters is how many delimiters there can be.
	MaxDelimiters = 8
	// MaxDelimiter is the length in bytes of the longest delimiter, and of the longest start.
	MaxDelimiter = 16
)

// Delimiters are the byte strings that end a message, and the one that begins it. They are never
// changed, so all framers of a Spec share them. Safe for concurrent use.
type Delimiters struct {
	start []byte // empty: a message begins where the one before it has ended
	all   [][]byte
	// minimal are those that contain no other one: the first to be complete is among them.
	minimal []minimal
	// single are the bytes that minimal consists of, in its order, if each of them is one byte.
	single []byte
	// bytewise reports whether there are single ones, and no start.
	bytewise bool
	// longer has, for each of all, the indices of those that begin with it.
	longer [][]uint8
	// follows has bit i set for each byte that comes after all[i] in one of longer[i].
	follows [256]uint8
	// extended reports whether one of all begins with another.
	extended bool
	// leads has, for each of all, its index and one if a longer one that begins with it may go
	// on behind it, and 0 otherwise.
	leads [MaxDelimiters]uint8
	// oneMore has bit i set if all[i] can go on with one certain byte, and no further: CR, if
	// there is CRLF.
	oneMore uint8
}

// minimal is a delimiter that contains no other one.
type minimal struct {
	text  []byte
	index int // in all
	// The indices of those that end with it, and contain no other end, the longest first.
	ends []int
}

// NewDelimiters returns the delimiters all, and start, which may be empty. It refuses none and too
// many, and those that are empty, too long or there twice.
func NewDelimiters(start string, all ...string) (*Delimiters, error) {
	if len(all) == 0 || len(all) > MaxDelimiters {
		return nil, fmt.Errorf("%d delimiters, want 1 to %d", len(all), MaxDelimiters)
	}
	if len(start) > MaxDelimiter {
		return nil, fmt.Errorf("start %q has %d bytes, want at most %d", start, len(start), MaxDelimiter)
	}
	d := &Delimiters{start: []byte(start), longer: make([][]uint8, len(all))}
	for i, one := range all {
		if len(one) == 0 || len(one) > MaxDelimiter {
			return nil, fmt.Errorf("delimiter %q has %d bytes, want 1 to %d", one, len(one), MaxDelimiter)
		}
		if slices.Contains(all[:i], one) {
			return nil, fmt.Errorf("delimiter %q is there twice", one)
		}
		d.add(i, one, all)
	}
	for i := range d.minimal {
		d.minimal[i].ends = slices.DeleteFunc(d.minimal[i].ends, func(j int) bool { return d.endsWithin(j) })
		d.single = append(d.single, d.minimal[i].text...)
		slices.SortFunc(d.minimal[i].ends, func(a, b int) int { return len(all[b]) - len(all[a]) })
	}
	if len(d.single) != len(d.minimal) {
		d.single = nil
	}
	d.bytewise = d.single != nil && len(start) == 0
	d.setLeads()
	return d, nil
}

// setLeads sets leads and oneMore.
func (d *Delimiters) setLeads() {
	for i, longer := range d.longer {
		if len(longer) == 0 || len(d.start) > 0 {
			continue
		}
		d.leads[i] = uint8(i + 1)
		if next := longer[0]; len(longer) == 1 && len(d.all[next]) == len(d.all[i])+1 {
			d.oneMore |= 1 << i
		}
	}
}

// asLine returns what ends messages like d does: one byte, or that and the same behind another, as
// LF and CRLF. It returns false if there is no such byte.
func (d *Delimiters) asLine() (like delimited, ok bool) {
	if !d.bytewise || len(d.single) > 1 {
		return like, false
	}
	like.end = d.single[0]
	if len(d.all) == 1 {
		return like, true
	}
	ends := d.minimal[0].ends
	if len(d.all) > 2 || len(ends) == 0 || len(d.all[ends[0]]) != 2 {
		return like, false
	}
	like.pair, like.first = true, d.all[ends[0]][0]
	return like, true
}

// endsWithin reports whether another delimiter is complete within the one at i, before that is.
func (d *Delimiters) endsWithin(i int) bool {
	text := d.all[i][:len(d.all[i])-1]
	return slices.ContainsFunc(d.all, func(other []byte) bool { return bytes.Contains(text, other) })
}

// mayFollow reports whether a delimiter that is longer than all[i], and begins with it, goes on as
// b does.
func (d *Delimiters) mayFollow(i uint8, b []byte) bool {
	return len(b) > 0 && d.follows[b[0]]>>i&1 != 0
}

// add adds one, which is all[i].
func (d *Delimiters) add(i int, one string, all []string) {
	d.all = append(d.all, []byte(one))
	m, isMinimal := minimal{text: d.all[i], index: i}, true
	for j, other := range all {
		if i == j {
			continue
		}
		isMinimal = isMinimal && !strings.Contains(one, other)
		if strings.HasSuffix(other, one) {
			m.ends = append(m.ends, j)
		}
		if len(other) > len(one) && strings.HasPrefix(other, one) {
			d.longer[i] = append(d.longer[i], uint8(j))
			d.follows[other[len(one)]] |= 1 << i
			d.extended = true
		}
	}
	if isMinimal {
		d.minimal = append(d.minimal, m)
	}
}

// All returns the delimiters in their order.
func (d *Delimiters) All() (all []string) {
	for _, one := range d.all {
		all = append(all, string(one))
	}
	return all
}

// Start returns what a message begins with; "" for nothing.
func (d *Delimiters) Start() string { return string(d.start) }

// stride is how many bytes are searched for one delimiter before they are searched for the next.
const stride = 256

// first returns where the first delimiter ends that is complete in b, and its index in all; of
// those that end there it is the longest. It returns -1 if none is complete.
func (d *Delimiters) first(b []byte) (end, which int) {
	if len(d.minimal) == 1 {
		m := &d.minimal[0]
		if end = m.endIn(b); end < 0 {
			return -1, 0
		}
		return end, d.longest(m, b[:end])
	}
	for from := 0; from < len(b); from += stride {
		// One that begins behind the stride ends later, as none of minimal contains another.
		if end, m := d.firstWithin(b, from, from+stride); end >= 0 {
			return end, d.longest(m, b[:end])
		}
	}
	return -1, 0
}

// firstWithin returns where the first delimiter ends of those that begin in b[from:to], and which
// that is; -1 if there is none.
func (d *Delimiters) firstWithin(b []byte, from, to int) (end int, which *minimal) {
	end = -1
	for i := range d.minimal {
		m := &d.minimal[i]
		limit := min(len(b), to+len(m.text)-1)
		if end >= 0 {
			limit = min(limit, end)
		}
		if n := m.endIn(b[from:limit]); n >= 0 {
			end, which = from+n, m
		}
	}
	return end, which
}

// endIn returns where the first occurrence in b ends; -1 if there is none.
func (m *minimal) endIn(b []byte) int {
	i, n := bytes.IndexByte(b, m.text[0]), len(m.text)
	if i < 0 {
		return -1
	}
	// Most often the others follow the first byte. Only bytes.Index is quick if they do not,
	// but it takes long to begin.
	if bytes.HasPrefix(b[i:], m.text) {
		return i + n
	}
	next := bytes.Index(b[i:], m.text)
	if next < 0 {
		return -1
	}
	return i + next + n
}

// longest returns the index of the longest delimiter that b, which ends with m, ends with.
func (d *Delimiters) longest(m *minimal, b []byte) int {
	for _, i := range m.ends {
		if hasSuffix(b, d.all[i]) {
			return i
		}
	}
	return m.index
}

// hasSuffix is bytes.HasSuffix for a suffix of a few bytes.
func hasSuffix(b, suffix []byte) bool {
	from := len(b) - len(suffix)
	if from < 0 {
		return false
	}
	for i, c := range b[from:] {
		if suffix[i] != c {
			return false
		}
	}
	return true
}

// begun returns the longest beginning of a delimiter that b ends with, as an index and a length,
// which is 0 if there is none.
func (d *Delimiters) begun(b []byte) (which, n int) {
	for i, one := range d.all {
		if m := begun(b, one); m > n {
			which, n = i, m
		}
	}
	return which, n
}

// begun returns the length of the longest beginning of one, but not all of it, that b ends with.
func begun(b, one []byte) int {
	for n := min(len(b), len(one)-1); n > 0; n-- {
		if bytes.HasSuffix(b, one[:n]) {
			return n
		}
	}
	return 0
}
