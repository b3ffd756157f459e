package records

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"tcpmux/daemon/record"
	"tcpmux/daemon/sockaddr"
)

// Selection selects messages. The zero value selects all.
type Selection struct {
	// Remote is a client's address and port, an address alone, or a user; see ParseRemote.
	Remote string
	// Session and Listener are names. Text records have neither.
	Session, Listener string
	// Since and Until bound the time at which a message was recorded: from Since on, and before
	// Until. A zero time is no bound.
	Since, Until time.Time
}

// ParseRemote returns an address in the form that records have: ADDRESS:PORT, or ADDRESS for every
// port. A client of a unix socket is what its records have, or uid=N for all of a user.
func ParseRemote(s string) (string, error) {
	if peer, ok := sockaddr.ParsePeer(s); ok {
		return peer.String(), nil
	}
	if sockaddr.IsUser(s) {
		uid, err := sockaddr.ParseUser(s)
		if err != nil {
			return "", err
		}
		return sockaddr.FormatUser(uid), nil
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		return "", fmt.Errorf("%q is no address: want ADDRESS or ADDRESS:PORT, such as 192.0.2.7 or [2001:db8::7]:40312, or uid=N", s)
	}
	return a.String(), nil
}

// of reports whether records of that source are selected.
func (sel *Selection) of(src *record.Source) bool {
	return (sel.Session == "" || sel.Session == src.Session) &&
		(sel.Listener == "" || sel.Listener == src.Listener) &&
		(sel.Remote == "" || sel.Remote == src.Remote || sel.Remote == hostOf(src.Remote))
}

// at reports whether what was recorded at t is selected.
func (sel *Selection) at(t time.Time) bool {
	return !t.Before(sel.Since) && (sel.Until.IsZero() || t.Before(sel.Until))
}

// hostOf returns an address without its port, and the user of a client of a unix socket.
func hostOf(remote string) string {
	if sockaddr.IsUser(remote) {
		uid, _, _ := strings.Cut(remote, ",")
		return uid
	}
	host := remote[:max(0, strings.LastIndexByte(remote, ':'))]
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// ErrFaults is the error of Cat when bytes are missing, or something that is not a record was
// skipped.
var ErrFaults = errors.New("the files are not whole")

// Cat writes what the selected clients sent, in the order in which it was recorded and each byte
// once, to w. Of JSON records these are the exact bytes of each client's stream. Text leaves out
// framing: Cat writes a newline after each whole message, and after a message in pieces only where
// a whole one follows. The last piece has the flag of the others, so the end of one message in
// pieces does not show if another follows. Cat reports faults as Verify does and goes on; its error
// is then ErrFaults. n is the number of bytes that were selected.
func (fs *Files) Cat(ctx context.Context, w io.Writer, sel Selection, fault func(Finding)) (n int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &player{Selection: sel, ledger: newLedger(), out: bufio.NewWriterSize(w, 64<<10), stop: cancel, faults: newFaultCount(fault)}
	c.pieces = make(map[string]bool)
	// Who reads along sees it at once; an error comes again.
	fs.idle = func() { _ = c.out.Flush() }
	if err := fs.walk(ctx, c); err != nil {
		return c.n, errors.Join(err, c.out.Flush())
	}
	if err := c.out.Flush(); err != nil {
		return c.n, err
	}
	for _, f := range fs.list {
		c.faults.end(f.name)
	}
	if len(c.faults.of) > 0 {
		return c.n, ErrFaults
	}
	return c.n, nil
}

// player is a visitor that restores what clients sent.
type player struct {
	Selection
	ledger
	out    *bufio.Writer
	n      int64 // bytes that were given to out
	stop   context.CancelCauseFunc
	faults faultCount
	text   bool
	pieces map[string]bool // by address: whose last message was a piece, of text
}

// file notes the format of what follows. Selecting a session or a listener from text is a fault:
// text has neither.
func (c *player) file(name string, f record.Format) {
	if c.text = f == record.Text; !c.text {
		return
	}
	c.drift()
	if c.Session != "" || c.Listener != "" {
		c.fault(place{file: name}, "is text, which tells neither session nor listener: nothing of it is selected")
	}
}

// fault reports a fault, and makes Cat return ErrFaults.
func (c *player) fault(at place, what string) { c.faults.add(at, what) }

// record writes the message of a record, if it is selected.
func (c *player) record(at place, r *record.Record) {
	switch {
	case c.text && (c.Session != "" || c.Listener != ""), !c.of(&r.Source):
	case c.text && r.Kind == record.KindMessage:
		c.line(r)
	case c.text:
		delete(c.pieces, r.Remote)
	case r.Kind == record.KindMessage:
		c.message(at, r)
	case r.Kind == record.KindClose:
		s, known := c.session(&r.Source)
		c.ends(s, known, r)
	}
}

// message writes the message of a JSON record.
func (c *player) message(at place, r *record.Record) {
	s, known := c.session(&r.Source)
	if !known {
		s.next = r.Offset
	}
	st := c.ledger.message(s, &r.Message)
	if st.gap > 0 {
		c.fault(at, fmt.Sprintf("session %s: %d bytes are missing before offset %d", r.Session, st.gap, r.Offset))
	}
	if c.at(r.Time) {
		c.write(r.Raw[int64(r.Len())-st.fresh:])
	}
}

// line writes the message of a text record.
func (c *player) line(r *record.Record) {
	if !c.at(r.Time) {
		return
	}
	if c.pieces[r.Remote] && r.Flag == "" {
		c.write([]byte("\n")) // the piece before was the last
	}
	c.write(r.Data())
	if r.Flag == "" {
		c.write([]byte("\n"))
	}
	if delete(c.pieces, r.Remote); r.Flag == "cut" {
		// No daemon has as many clients; then a newline may be left out.
		if len(c.pieces) == openKept {
			clear(c.pieces)
		}
		c.pieces[r.Remote] = true
	}
}

// write writes b. After an error the reading ends.
func (c *player) write(b []byte) {
	c.n += int64(len(b))
	if _, err := c.out.Write(b); err != nil {
		c.stop(err)
	}
}
