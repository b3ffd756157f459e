package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"tcpmux/config/document"
	"tcpmux/config/notation"
)

// The framings that have keys of their own.
const (
	lengthPrefixed = "length-prefixed"
	delimited      = "delimited"
	fixed          = "fixed"
	silence        = "silence"
)

// framingKeys are those that one framing alone uses.
var framingKeys = []struct {
	framing string
	names   []string
}{
	{delimited, []string{"delimiter", "start"}},
	{fixed, []string{"message_size"}},
	{silence, []string{"silence"}},
	{lengthPrefixed, []string{"length_size", "length_order", "length_offset", "length_adjust"}},
}

// checkFramings reports a key that another framing does not use. A default is allowed everywhere,
// and a value at the top may be for a [[listener]]. Unused values become the default. tables are
// those of all listeners of c, the main one first.
func (r *reader) checkFramings(c *Config, tables []table) {
	for _, of := range framingKeys {
		used := func(l Listener) bool { return l.Framing == of.framing }
		anyUsed := slices.ContainsFunc(c.Listeners, used)
		for i, t := range tables {
			l := &c.Listeners[i]
			if used(*l) {
				continue
			}
			for _, name := range of.names {
				k, to := find(section{}, name), listenerTarget(c, l)
				if (i > 0 || !anyUsed && !r.partial) && !r.AnyFailed("framing") && k.value.write(to) != k.Default() {
					t.faultUnused(name, l.Framing, of.framing)
				}
				k.value.reset(to)
			}
		}
	}
}

// faultUnused reports a key of the table that has no effect with the listener's framing.
func (t table) faultUnused(key, framing, want string) {
	if v, set := t.Values[key]; set {
		at := t.At(key)
		at.Fault("is %s, which has no effect with framing%s = %q: want framing = %q, or no %s",
			at.Written(v), t.Origin("framing"), framing, want, key)
	}
}

// checkFraming reports what the framing of a listener lacks, and warns of what has it cut messages
// in another way than is meant.
func (t table) checkFraming(l Listener) {
	if t.failed("framing") || t.failed("delimiter") || t.failed("message_size") || t.failed("silence") {
		return
	}
	at := t.Setting("framing")
	switch {
	case l.Framing == delimited && len(l.Delimiter) == 0:
		at.Fault(`is %q, which needs a delimiter: want delimiter = "\r", or what else ends a message`, l.Framing)
	case l.Framing == fixed && l.MessageSize == 0:
		at.Fault("is %q, which needs a message_size: want message_size = 32, or whatever size a message has", l.Framing)
	case l.Framing == fixed && int64(l.MessageSize) > l.MaxMessage && !t.failed("max_message"):
		t.Setting("message_size").Warn("is %d, more than max_message = %q: every message is recorded in pieces",
			l.MessageSize, notation.FormatSize(l.MaxMessage))
	case l.Framing == lengthPrefixed && !t.failed("length_size") && !t.failed("length_adjust"):
		t.warnOfLengths(l)
	case l.Framing == silence:
		t.warnOfShortTimeouts(l)
	}
}

// warnOfLengths warns of an adjustment that leaves no message whole.
func (t table) warnOfLengths(l Listener) {
	at, largest := t.Setting("length_adjust"), 1<<(8*l.LengthSize)-1
	switch {
	case largest+l.LengthAdjust < 0:
		at.Warn("is %d, and the largest length is %d (length_size = %d): every message is malformed",
			l.LengthAdjust, largest, l.LengthSize)
	case int64(l.LengthAdjust) > l.MaxMessage && !t.failed("max_message"):
		at.Warn("is %d, more than max_message = %q: every message is recorded in pieces",
			l.LengthAdjust, notation.FormatSize(l.MaxMessage))
	}
}

// failed reports whether the value that a key has in the table, perhaps inherited, has an error.
func (t table) failed(key string) bool {
	if _, own := t.Values[key]; own {
		return t.At(key).Failed()
	}
	return t.reader.At(key).Failed()
}

// warnOfShortTimeouts warns of times that are over before silence has ended a message.
func (t table) warnOfShortTimeouts(l Listener) {
	const text = "is %q and silence is %q: each client is closed before its message ends"
	if d := l.IdleTimeout; d > 0 && d <= l.Silence && !t.failed("idle_timeout") {
		t.Setting("idle_timeout").Warn(text, notation.FormatDuration(d), notation.FormatDuration(l.Silence))
	}
	for _, limit := range []struct {
		key   string
		after time.Duration
	}{{"message_timeout", l.Limits.MessageTimeout}, {"max_session", l.Limits.MaxSession}} {
		if d := limit.after; d > 0 && d <= l.Silence && !t.reader.AnyFailed(limit.key) {
			t.Setting("limits", limit.key).Warn(text, notation.FormatDuration(d), notation.FormatDuration(l.Silence))
		}
	}
}

// delimiters takes what ends a message: text or bytes, or a list of them.
func delimiters() kind[[]Bytes] {
	allowed := fmt.Sprintf(`text or bytes, 1B to %dB, or an array of up to %d of them`, maxDelimiter, maxDelimiters)
	read := func(v any, at place) ([]Bytes, bool) {
		items, isList := v.([]any)
		// TOML has a type of its own for a list of tables.
		if tables, ok := v.([]map[string]any); ok {
			isList = true
			for _, item := range tables {
				items = append(items, item)
			}
		}
		switch {
		case !isList && v == "":
			return nil, true
		case !isList:
			one, ok := delimiter(v, at)
			return []Bytes{one}, ok || at.Fail()
		case len(items) > maxDelimiters:
			return nil, at.Fault("has %d elements, want at most %d", len(items), maxDelimiters)
		}
		return readDelimiters(items, at)
	}
	return kind[[]Bytes]{allowed, read, writeDelimiters}
}

// readDelimiters reads a list of them, and warns of one that has no effect.
func readDelimiters(items []any, at place) (all []Bytes, ok bool) {
	ok = true
	for i, item := range items {
		where := place{at.Item(i), at.reader}
		one, fine := delimiter(item, where)
		if fine && slices.ContainsFunc(all, func(other Bytes) bool { return other.Raw == one.Raw }) {
			fine = where.Fault("is %s, which is there twice: want it once", one.shown())
		}
		all, ok = append(all, one), ok && fine
	}
	if !ok {
		return nil, at.Fail()
	}
	for i, one := range all {
		if other := hiding(one, all); !other.Empty() {
			at.Item(i).Warn("is %s and has no effect: %s in it ends a message before it does", one.shown(), other.shown())
		}
	}
	return all, true
}

// hiding returns the delimiter that keeps one from having an effect; none if one has an effect.
// What one begins with may end the message: the rest of one then belongs to the head of the next
// message, unless a delimiter is complete within that rest. All that can happen to one happens
// where it comes alone, so that is what is followed here.
func hiding(one Bytes, all []Bytes) (other Bytes) {
	for end := 0; ; {
		next := nextPrefix(one, all, end)
		if other = within(one.Raw[end:next-1], all); !other.Empty() {
			return other
		}
		if end = next; end == len(one.Raw) {
			return Bytes{}
		}
	}
}

// nextPrefix returns the length of the shortest delimiter that one begins with, or that is one, and
// that has more than n bytes.
func nextPrefix(one Bytes, all []Bytes, n int) int {
	shortest := len(one.Raw)
	for _, other := range all {
		if size := len(other.Raw); size > n && strings.HasPrefix(one.Raw, other.Raw) {
			shortest = min(shortest, size)
		}
	}
	return shortest
}

// within returns the delimiter that is complete first in text; none if there is no such.
func within(text string, all []Bytes) (first Bytes) {
	end := len(text) + 1
	for _, other := range all {
		if at := strings.Index(text, other.Raw); at >= 0 && at+len(other.Raw) < end {
			first, end = other, at+len(other.Raw)
		}
	}
	return first
}

// delimiter takes one.
func delimiter(v any, at place) (Bytes, bool) {
	b, ok := anyBytes(maxDelimiter).read(v, at)
	if ok && b.Empty() {
		return b, at.Want(v, fmt.Sprintf("1 to %d bytes", maxDelimiter))
	}
	return b, ok
}

func writeDelimiters(all []Bytes) string {
	if len(all) == 1 {
		return all[0].String()
	}
	if len(all) == 0 {
		return document.QuoteTOML("")
	}
	var b bytes.Buffer
	for i, one := range all {
		fmt.Fprintf(&b, "%s%s", []string{"[", ", "}[min(i, 1)], one)
	}
	return b.String() + "]"
}
