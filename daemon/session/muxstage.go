package session

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/conn"
)

const (
	// nameTimeout is how long a client may take to name a listener.
	nameTimeout = 10 * time.Second
	// maxName is how long a name may be, with its line end.
	maxName = 256
	// shownName is how much of a name is shown that is nobody's.
	shownName = 64
)

// MuxReply is what a client is sent that has named a listener.
const MuxReply = "+Go\r\n"

// MuxStage is the stage of a connection to a mux: the client names the listener that is to serve it
// (RFC 1078), and another session goes on with the connection there. The name is looked at and then
// removed from the socket whole: nothing behind it is touched.
type MuxStage struct{}

// Run implements Stage. It returns a reason in any case.
func (*MuxStage) Run(s *Session) (Reason, error) {
	s.Await(ForName)
	// In two steps: the one in which another session follows has little on its stack.
	n, why, err := s.hearName()
	if why != "" {
		return why, err
	}
	return s.moveTo(n)
}

// named is a listener that a client has named, and the peek that has shown it.
type named struct {
	listener string
	peek     *namePeek
}

// hearName waits for the name of a listener. A reason is that the session ends.
func (s *Session) hearName() (named, Reason, error) {
	p := namePeeks.Get().(*namePeek)
	err := p.await(s)
	if err == nil {
		if n := namedIn(s.Settings.Mux, p.name()); n != "" {
			return named{n, p}, "", nil
		}
	}
	why, err := s.unnamed(p, err)
	namePeeks.Put(p)
	return named{}, why, err
}

// unnamed ends a session whose client has named no listener, with the error of the wait for one.
func (s *Session) unnamed(p *namePeek, err error) (Reason, error) {
	switch {
	case err == nil:
		return s.refuse(p)
	case s.Phase() == Leaving:
		return ByLeave, nil
	case s.Phase() == Over:
		return s.hangUp(ByDrain, nil)
	case errors.Is(err, io.EOF):
		return s.hangUp(ByEOF, nil)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("none has come whole within %v", nameTimeout)
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = cutOff(s.Conn)
	}
	return s.hangUp(ReasonOf(err, ByMux), fmt.Errorf("read the name of a listener: %w", err))
}

// refuse answers a line that names no listener.
func (s *Session) refuse(p *namePeek) (Reason, error) {
	switch name := p.name(); {
	case p.size == 0:
		return s.refuseName(fmt.Sprintf("the name is longer than %d bytes", maxName-len("\r\n")))
	case len(name) == 0:
		return s.refuseName("no name")
	case equalFold(config.MuxHelp, name):
		return s.help()
	default:
		return s.refuseName("unknown service " + quoteName(name))
	}
}

// hangUp ends a session that no other follows. What the client has sent and nobody reads would have
// the kernel break the connection off.
func (s *Session) hangUp(why Reason, err error) (Reason, error) {
	serr := s.Open()
	s.Conn.HangUp()
	if serr != nil {
		return BySink, serr
	}
	return why, err
}

// namePeek peeks for a line at the head of a connection.
type namePeek struct {
	s    *Session
	buf  [maxName]byte
	seen int         // bytes that have come, as far as they have room in buf
	size int         // of the line, with its end; 0: that has not come, or does not fit buf
	err  error       // why no more will come
	try  func() bool // peek, made once
}

var namePeeks = sync.Pool{New: func() any {
	p := new(namePeek)
	p.try = p.peek
	return p
}}

// await waits for the line within nameTimeout, or until the session is Leaving or Over. io.EOF is
// that nothing has come before the end.
func (p *namePeek) await(s *Session) error {
	p.s, p.seen, p.size, p.err = s, 0, 0, nil
	if p.peek() { // most clients do not wait: no deadline has to be set
		return p.err
	}
	deadline := time.Now().Add(nameTimeout)
	defer s.Conn.SetReadDeadline(time.Time{})
	for {
		s.Conn.SetReadDeadline(deadline)
		err := s.Conn.Wait(p.try)
		early := errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(deadline)
		if early && s.Phase() < Leaving { // what has changed does not matter here
			continue
		}
		return errors.Join(err, p.err)
	}
}

// peek peeks once, and reports whether there is a line, or none to come.
func (p *namePeek) peek() bool {
	n, err := p.look()
	if n > 0 && p.size == 0 && n < maxName {
		if _, ended := p.s.Conn.Readable(); ended {
			n, err = p.look() // the rest may have come with the end
			if n > 0 && p.size == 0 {
				err = io.ErrUnexpectedEOF
			}
		}
	}
	switch {
	case err == unix.EAGAIN:
		return false
	case n == 0 && err == nil:
		p.err = io.EOF
	case err == io.ErrUnexpectedEOF:
		p.err = err
	case err != nil:
		p.err = os.NewSyscallError("recv", err)
	default:
		return p.size > 0 || n == maxName
	}
	return true
}

// look looks at what has come.
func (p *namePeek) look() (n int, err error) {
	if n, err = p.s.Conn.Peek(p.buf[:]); n > 0 && !p.ends(n) {
		n = conn.PeekOn(p.s.Conn, p.buf[:], n)
		p.ends(n)
	}
	return n, err
}

// ends notes that n bytes have come, and reports whether the line is among them.
func (p *namePeek) ends(n int) bool {
	p.seen, p.size = n, bytes.IndexByte(p.buf[:n], '\n')+1
	return p.size > 0
}

// name returns the line without its end.
func (p *namePeek) name() []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(p.buf[:p.size], []byte("\n")), []byte("\r"))
}

// moveTo has the connection go on at a listener.
func (s *Session) moveTo(n named) (Reason, error) {
	// Here, as it is not deep: an allocation may need more stack than the rest, which then
	// would have to grow.
	next := &Session{Config: Config{Past: new(Past)}}
	for {
		moved, refusal := s.Env.Move(s, next, n.listener, n.peek.size)
		switch {
		case moved:
			s.leaveBehind(n.peek, next)
			return byMove, nil
		case refusal != "":
			return s.turnAway(refusal)
		}
		if s.waitForPhase(); s.Phase() == Leaving {
			return ByLeave, nil
		}
	}
}

// leaveBehind removes the name from the socket, and has next, which has followed s, know what has
// come behind it: most often all that is to be recorded for now.
func (s *Session) leaveBehind(p *namePeek, next *Session) {
	err := s.Conn.Discard(p.size) // of a connection that is broken the next peek tells
	recorded := next.Settings.Record && next.Settings.Model != "process"
	if err == nil && recorded && next.Conn == s.Conn && p.size < p.seen && p.seen < maxName {
		next.behind = p
		return
	}
	namePeeks.Put(p)
}

// peek looks at what has come, for the first time perhaps at what came with the name.
func (s *Session) peek(buf []byte) (int, error) {
	p := s.behind
	if p == nil {
		return s.Conn.Peek(buf)
	}
	s.behind = nil
	n := copy(buf, p.buf[p.size:p.seen])
	namePeeks.Put(p)
	return n, nil
}

// turnAway ends a session whose client the listener that it has named does not let in.
func (s *Session) turnAway(refusal string) (Reason, error) {
	s.say("-" + refusal + "\r\n")
	s.Conn.HangUp()
	return byRefusal, nil
}

// waitForPhase waits until the session's phase may have changed.
func (s *Session) waitForPhase() {
	for s.Phase() == Serving {
		s.Conn.SetReadDeadline(time.Time{}) // or it would not wait any more once it was woken
		if err := s.Conn.Wait(func() bool { return s.Phase() != Serving }); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// help sends the client the names that there are.
func (s *Session) help() (Reason, error) {
	s.say(strings.Join(s.Settings.Mux, "\r\n") + "\r\n")
	return s.hangUp(ByHelp, nil)
}

// refuseName refuses a client that has named nothing that there is.
func (s *Session) refuseName(why string) (Reason, error) {
	s.say("-" + why + "\r\n")
	return s.hangUp(ByMux, errors.New(why))
}

// answer sends the reply alone, before what follows it needs more of the client than to read.
func (s *Session) answer() error {
	reply := s.Reply
	if reply == "" {
		return nil
	}
	s.Reply = ""
	return s.say(reply)
}

// say sends text to a client that has been sent little: within Env.BannerTimeout, as it may be
// much.
func (s *Session) say(text string) error {
	b := []byte(text)
	n, err := s.Conn.TryWrite(b)
	if err != nil || n == len(b) {
		return err
	}
	s.Await(ForGreeted)
	s.Conn.SetWriteDeadline(time.Now().Add(s.Env.BannerTimeout))
	return s.Conn.Write(b[n:])
}

// namedIn returns which of the names a client means, whose case does not matter; "" if it is none.
func namedIn(names []string, name []byte) string {
	for _, n := range names {
		if equalFold(n, name) {
			return n
		}
	}
	return ""
}

// equalFold reports whether the names differ in the case of ASCII letters alone.
func equalFold(a string, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range b {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// quoteName returns a name, which may be any bytes, as it can be shown: quoted, in ASCII, and not
// long.
func quoteName(name []byte) string {
	if len(name) > shownName {
		return strconv.QuoteToASCII(string(name[:shownName])) + "..."
	}
	return strconv.QuoteToASCII(string(name))
}
