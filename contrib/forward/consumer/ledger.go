package main

import (
	"fmt"
	"io"
	"strings"

	"tcpmux/daemon/record"
)

// ledger writes what the records of the selected clients hold, and checks that it is all there:
// each record tells where in its client's stream it begins.
type ledger struct {
	options
	out     io.Writer
	fault   func(what string)
	parser  *record.Parser
	known   map[string]*known // by session, if it is the only one, or is not closed
	records int64
	faults  int64
}

// known is what is known of a session.
type known struct {
	next   int64 // where its next message begins
	closed bool
}

func newLedger(opt options, out io.Writer, fault func(string)) *ledger {
	return &ledger{options: opt, out: out, fault: fault, parser: record.NewParser(record.JSON), known: map[string]*known{}}
}

// message takes the next message of the stream. It reports whether there can be more of what was
// selected; the error is one of writing.
func (l *ledger) message(sequence uint64, session string, line []byte) (more bool, err error) {
	if session == "" || l.session != "" && session != l.session {
		return true, nil // somebody else's; the header saves parsing the line
	}
	r, err := l.parser.Parse(line)
	if err != nil {
		l.report(sequence, session, fmt.Sprintf("no record: %v", err))
		return true, nil
	}
	if !l.selects(&r.Source) {
		return true, nil
	}
	l.records++
	fresh := l.check(sequence, r)
	if l.lines {
		_, err = fmt.Fprintf(l.out, "%s\n", line)
	} else {
		_, err = l.out.Write(fresh)
	}
	return l.toEnd || l.session == "" || r.Kind != record.KindClose, err
}

// selects reports whether records of that source are selected.
func (l *ledger) selects(s *record.Source) bool {
	address := s.Remote[:max(0, strings.LastIndexByte(s.Remote, ':'))]
	return (l.session == "" || l.session == s.Session) &&
		(l.listener == "" || l.listener == s.Listener) &&
		(l.client == "" || s.TLS != nil && l.client == s.TLS.Subject) &&
		(l.remote == "" || l.remote == s.Remote || l.remote == strings.Trim(address, "[]"))
}

// check compares a record with those before it, and returns the bytes that did not come before.
func (l *ledger) check(sequence uint64, r *record.Record) (fresh []byte) {
	s, found := l.known[r.Session]
	if !found {
		s = &known{}
		l.known[r.Session] = s
	}
	begin, end := r.Offset, r.Offset+int64(r.Len())
	switch {
	case r.Kind == record.KindOpen && found:
		l.report(sequence, r.Session, "it opens again")
		return nil
	case r.Kind == record.KindOpen:
		return nil
	case r.Kind == record.KindClose && s.closed && s.next == r.Bytes:
		l.report(sequence, r.Session, "it closes again")
		return nil
	case r.Kind == record.KindClose:
		begin, end = r.Bytes, r.Bytes
		s.closed = true
		if l.session == "" {
			delete(l.known, r.Session) // there may be any number
		}
	}
	next := s.next
	if !found && !l.since.IsZero() {
		next = begin // it began earlier
	}
	switch {
	case begin > next:
		l.report(sequence, r.Session, fmt.Sprintf("bytes %d to %d are missing", next, begin))
	case begin < next:
		l.report(sequence, r.Session, fmt.Sprintf("bytes %d to %d come again", begin, min(max(end, begin), next)))
	}
	s.next = max(next, end)
	if r.Kind != record.KindMessage {
		return nil
	}
	return r.Raw[min(max(0, next-begin), end-begin):]
}

// report tells what is wrong at a message of the stream.
func (l *ledger) report(sequence uint64, session, what string) {
	l.faults++
	l.fault(fmt.Sprintf("message %d of the stream: session %q: %s", sequence, session, what))
}
