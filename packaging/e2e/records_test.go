//go:build e2e

package e2e

import (
	"os"
	"regexp"
	"strconv"
	"strings"
)

// entry is one line of the record file.
type entry struct{ kind, addr, flag, data, via string }

var (
	stamp   = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z`
	addr    = `((?:\d+\.){3}\d+:\d+|\[[0-9a-f:]+\]:\d+)`
	message = regexp.MustCompile(`^` + stamp + ` from ` + addr + `(?: \[(eof|cut|timeout)\])?: (.*)$`)
	opening = regexp.MustCompile(`^` + stamp + ` open from ` + addr + `(?: via ` + addr + `)?$`)
	closing = regexp.MustCompile(`^` + stamp + ` close from ` + addr + `: [a-z]+(?: \d+)?, (\d+) records, \d+ bytes$`)
)

// parse parses a line; the kind is "" if the line is not a record.
func parse(line string) entry {
	if m := message.FindStringSubmatch(line); m != nil {
		return entry{kind: "message", addr: m[1], flag: m[2], data: m[3]}
	}
	if m := opening.FindStringSubmatch(line); m != nil {
		return entry{kind: "open", addr: m[1], via: m[2]}
	}
	if m := closing.FindStringSubmatch(line); m != nil {
		return entry{kind: "close", addr: m[1], data: m[2]}
	}
	return entry{}
}

// entries reads the record file. Every line must be a record, and the last one must be complete.
// Without a file there are no entries.
func (r *rig) entries() []entry {
	b, err := os.ReadFile(r.path(records))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		r.t.Error(err)
	}
	if len(b) > 0 && b[len(b)-1] != '\n' {
		r.t.Errorf("%s: got %q, want a newline at the end", records, b[max(0, len(b)-60):])
	}
	var all []entry
	for line := range strings.Lines(string(b)) {
		e := parse(strings.TrimSuffix(line, "\n"))
		if e.kind == "" {
			r.t.Errorf("%s: got %q, want a record", records, line)
		}
		all = append(all, e)
	}
	return all
}

// checkRecords fails unless the file contains what every talker has sent, once and in order, and
// events that agree with it.
func (r *rig) checkRecords() {
	all := r.entries()
	r.checkTalkers(all)
	r.checkSessions(all)
}

// checkTalkers compares the messages with what was sent.
func (r *rig) checkTalkers(all []entry) {
	heard := make(map[string]int)
	for _, e := range all {
		name, _, ok := strings.Cut(e.data, " ")
		if e.kind != "message" || e.flag != "" || !ok {
			// A connection that was broken off may leave a piece of a line.
			continue
		}
		got, want := number(e.data, name), heard[name]+1
		if r.killed && got > 0 && got < want {
			continue
		}
		if got != want {
			r.t.Errorf("%s: got number %d of %s, want %d", records, got, name, want)
			return // everything that follows differs too
		}
		heard[name]++
	}
	for _, k := range r.talkers {
		if got := heard[k.name]; got != k.said && !(k.torn && got < k.said) {
			r.t.Errorf("%s: got %d lines of %s (%v), want %d", records, got, k.name, k.conn.LocalAddr(), k.said)
		}
	}
}

// checkSessions compares the events with the messages: each session opens, and if it closes the
// count is right.
func (r *rig) checkSessions(all []entry) {
	count := make(map[string]int)
	for _, e := range all {
		n, open := count[e.addr]
		switch {
		case e.kind == "open":
			count[e.addr] = 0 // a crash leaves sessions without an end
		case !open:
			r.t.Errorf("%s: got %s from %s without a session", records, e.kind, e.addr)
			return
		case e.kind == "message":
			count[e.addr]++
		case e.data != strconv.Itoa(n) && !r.killed:
			r.t.Errorf("%s: got %s records at the close of %s, want %d", records, e.data, e.addr, n)
		default:
			delete(count, e.addr)
		}
	}
}

// forget notes that the record file was removed, with all that clients have sent so far.
func (r *rig) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.talkers = nil
}
