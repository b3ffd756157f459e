package config

import (
	"fmt"
	"slices"

	"tcpmux/config/notation"
)

// check reports errors that involve several keys. tables are those of the listeners, in their
// order.
func (r *reader) check(c *Config, top table, tables []table) {
	r.checkAddresses()
	r.checkSockets(c)
	if len(tables) == 0 && !r.partial && !top.At("listener").Failed() {
		top.At("address").Want([]any{}, "at least one address here, or a [[listener]]")
	}
	r.checkFiles(c, tables)
	r.checkSizes(c, tables)
	checkServices(c, tables)
	r.checkMuxes(c, tables)
	checkProxyLoops(c, tables)
	r.checkTLS(c, tables)
	r.warnOfDisabled(c)
	r.warnOfStdout(c)
	r.checkForward(c)
}

// SurvivalFiles returns the number of descriptors that a process needs so that this many clients
// can survive it: the ring that keeps them may hold each of them twice.
func SurvivalFiles(clients int) int { return 2*clients + 2000 }

// A record is never split over files, so a file must hold the longest. A byte of a message becomes
// up to 4 in text (\xNN) and up to 6 in json (\u00NN); time, address and the rest take up to
// plainHead, and the names of a client that speaks TLS up to tlsHead more.
var growth = map[string]int64{"text": 4, "json": 6}

const (
	plainHead = 1 << 10
	tlsHead   = 5 << 10
)

// recordHead returns how much a record has at most in addition to its message.
func recordHead(c *Config) int64 {
	if slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.TLS.On() }) {
		return plainHead + tlsHead
	}
	return plainHead
}

// checkSizes reports a max_size too small for the longest record, once, for the listener with the
// largest messages.
func (r *reader) checkSizes(c *Config, tables []table) {
	if r.AnyFailed("max_message", "max_size", "format") || len(tables) == 0 || !c.recordsInFiles() {
		return
	}
	most := 0
	for i, l := range c.Listeners {
		if l.MaxMessage > c.Listeners[most].MaxMessage {
			most = i
		}
	}
	longest, times, head := c.Listeners[most].MaxMessage, growth[c.Record.Format], recordHead(c)
	if longest*times+head <= c.Record.MaxSize {
		return
	}
	at, owner := r.At("record", "max_size"), ""
	if t := tables[most]; t.owner != "" {
		owner = " of " + t.owner + t.Origin("max_message")
		if own := t.At("max_message"); own.Line() > 0 {
			owner += fmt.Sprintf(" (%s)", own.Seen(at))
		}
	}
	at.Fault(
		"is %q, and with max_message = %q%s a record can be longer: want max_size %q or more, or max_message %q or less",
		notation.FormatSize(c.Record.MaxSize), notation.FormatSize(longest), owner,
		notation.FormatSize(up(longest*times+head)), notation.FormatSize(down((c.Record.MaxSize-head)/times)))
}

// up and down round to whole KiB, where possible, so that a proposed value is easy to read.
func up(n int64) int64 { return (n + 1023) / 1024 * 1024 }

func down(n int64) int64 {
	if n < 1024 {
		return n
	}
	return n / 1024 * 1024
}
