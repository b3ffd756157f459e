package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/framing"
	"tcpmux/daemon/record"
)

// reason is why a session has ended, as logs and close records show it.
type reason string

const (
	byEOF    reason = "eof"    // the client closed
	byReset  reason = "reset"  // the client broke the connection off
	byLoss   reason = "lost"   // the client has vanished: keepalive, or an unreachable network
	byIdle   reason = "idle"   // idle_timeout
	byDrain  reason = "drain"  // the daemon stopped and drain_timeout was over
	byBanner reason = "banner" // the client would not take its greeting
	bySink   reason = "sink"   // the daemon stopped while records could not be written
	byError  reason = "error"  // any other error of the connection

	byChild reason = "process" // the process that served the client has died
)

// session is our dealings with one connection, from banner to last record. Its goroutine owns it; the server may only
// half-close it and set deadlines.
type session struct {
	server   *Server
	listener *listener
	settings *listenerSettings // as they were when it began
	events   bool              // its opening and closing are records
	conn     conn
	source   record.Source
	framing  framing.Line
	opened   time.Time
	heard    time.Time // when the client last sent something
	offset   int64     // bytes of the stream that messages have taken
	records  int64
	rest     []byte // bytes that are not a whole message yet; nil when there are none
	lost     int64  // records that the sink did not take
	greeted  atomic.Bool
	limited  bool // a read deadline is set

	// What one read gave, between the poller's callback and receive.
	onReadable func(fd uintptr) bool
	got        *workspace
	n          int
	errno      error
}

// newSession makes a session of an accepted connection. The descriptor is the session's from now on.
func newSession(srv *Server, ln *listener, fd int, remote netip.AddrPort) (*session, error) {
	cookie, err := socketCookie(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	name := bootID() + "-" + strconv.FormatUint(cookie, 16)
	return sessionFrom(srv, ln, fd, record.Source{Listener: ln.name, Session: name, Remote: remote.String()})
}

// sessionFrom is newSession for a client whose source is known.
func sessionFrom(srv *Server, ln *listener, fd int, source record.Source) (*session, error) {
	s := &session{
		server:   srv,
		listener: ln,
		settings: ln.settings.Load(),
		events:   srv.events.Load(),
		source:   source,
		opened:   time.Now(),
	}
	s.framing.Max = int(s.settings.MaxMessage)
	var err error
	if s.conn, err = srv.connOf(s.settings.Model, fd); err != nil {
		return nil, err
	}
	s.onReadable = s.readNow
	return s, nil
}

// run serves the client to the end. When it returns all that the client sent is written, unless the sink, or the process that
// served it, has failed.
func (s *session) run() {
	why, err := s.serve()
	if s.events {
		if err := s.event(func(e encoder, dst []byte) []byte {
			return e.Close(dst, string(why), s.records, s.offset)
		}); err != nil {
			why = bySink
		}
	}
	s.conn.close()
	s.log(why, err)
}

// log says in one line how the session went. It goes to the handler itself: slog's front would unwind the stack to find a
// source line that nobody asked for, which at thousands of visits a second is felt.
func (s *session) log(why reason, err error) {
	level, ctx := slog.LevelInfo, context.Background()
	if s.lost > 0 {
		level = slog.LevelError
	}
	h := s.server.log.Handler()
	if !h.Enabled(ctx, level) {
		return
	}
	now := time.Now()
	r := slog.NewRecord(now, level, "session closed", 0)
	r.AddAttrs(
		slog.String("listener", s.source.Listener),
		slog.String("remote", s.source.Remote),
		slog.String("session", s.source.Session),
		slog.String("reason", string(why)),
		slog.Int64("records", s.records),
		slog.Int64("bytes", s.offset),
		slog.Duration("duration", now.Sub(s.opened).Round(time.Millisecond)),
	)
	if err != nil {
		r.AddAttrs(slog.Any("err", err))
	}
	if s.lost > 0 {
		r.AddAttrs(slog.Int64("lost", s.lost))
	}
	_ = h.Handle(ctx, r) // there is nobody left to tell
}

// serve greets, then records message after message until the client, the daemon or a fault ends it.
func (s *session) serve() (reason, error) {
	if c, ok := s.conn.(*child); ok {
		return s.relay(c)
	}
	greeting := s.greet()
	s.greeted.Store(true)
	if s.server.draining.Load() { // drain half-closes only who has been greeted by then
		s.halfClose()
	}
	if s.events {
		if err := s.event(encoder.Open); err != nil {
			return bySink, err
		}
	}
	if greeting != nil {
		return s.ungreeted(greeting)
	}
	s.heard = time.Now() // the silence until here was ours
	s.setDeadline()
	for {
		ws, n, err := s.receive()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if why, over := s.deadline(); over {
				return s.finish(why, nil, framing.Timeout)
			}
		case err != nil:
			return s.finish(reasonOf(err, byError), err, framing.EOF)
		case n == 0:
			s.server.workspaces.put(ws)
			return s.finish(byEOF, nil, framing.EOF)
		default:
			if err := s.take(ws, n); err != nil {
				return bySink, err
			}
		}
	}
}

// ungreeted ends a session whose client did not take the banner; what it has said by now is recorded all the same.
func (s *session) ungreeted(err error) (reason, error) {
	why, flag := reasonOf(err, byBanner), framing.EOF
	if why == byBanner {
		flag = framing.Timeout
	}
	return s.finish(s.lastWords(why), err, flag)
}

// greet sends the banner. It almost always fits the kernel's buffer at once; a client whose buffer it does not fit has
// bannerTimeout to read.
func (s *session) greet() error {
	if s.settings.banner.text == "" {
		return nil
	}
	var small [64]byte
	text := s.settings.banner.appendTo(small[:0], s)
	var n int
	var err error
	s.conn.control(func(fd uintptr) { n, err = unix.Write(int(fd), text) })
	switch {
	case n == len(text):
		return nil
	case err == nil || err == unix.EAGAIN || err == unix.EINTR:
		return s.greetSlowly(text[max(n, 0):])
	}
	return os.NewSyscallError("write", err)
}

// greetSlowly sends what is left of the banner as the client takes it.
func (s *session) greetSlowly(text []byte) error {
	by := time.Now().Add(s.server.bannerTimeout)
	if s.server.expired.Load() {
		by = longAgo
	}
	return cause(s.conn.write(text, by))
}

// receive waits until the client has sent something, and reads it into a workspace. n is 0 at the end of the stream. With
// an error there is no workspace; it is os.ErrDeadlineExceeded when the deadline came first.
func (s *session) receive() (ws *workspace, n int, err error) {
	if err := s.conn.read(s.onReadable); err != nil {
		return nil, 0, err
	}
	ws, n, err = s.got, s.n, s.errno
	s.got = nil
	if err != nil {
		s.server.workspaces.put(ws)
		return nil, 0, os.NewSyscallError("read", err)
	}
	return ws, n, nil
}

// readNow reads once. It says false when there is nothing to read: then the workspace goes back, so that a client that
// waits holds none.
func (s *session) readNow(fd uintptr) bool {
	ws := s.server.workspaces.get()
	n, err := ws.read(int(fd))
	if err == unix.EAGAIN {
		s.server.workspaces.put(ws)
		return false
	}
	s.got, s.n, s.errno = ws, n, err
	return true
}

// take records the messages in the n bytes that were read into ws, and gives ws back. What is no whole message yet is kept
// for the next read.
func (s *session) take(ws *workspace, n int) error {
	s.heard = time.Now()
	data := ws.join(s.rest, n)
	ws.encoder.Begin(&s.source, s.heard)
	var ticket record.Ticket
	first := s.records
	for {
		msg, took, flag := s.framing.Next(data)
		if took == 0 {
			break
		}
		s.encode(ws, msg, took, flag)
		data = data[took:]
		if len(ws.out) >= outSize {
			if err := s.hand(ws, &ticket); err != nil {
				s.server.workspaces.put(ws)
				return s.fail(first, err)
			}
		}
	}
	s.rest = s.server.workspaces.keep(s.rest, data)
	err := s.hand(ws, &ticket)
	s.server.workspaces.put(ws)
	if err == nil {
		err = s.commit(ticket)
	}
	if err != nil {
		return s.fail(first, err)
	}
	s.server.records.Add(s.records - first)
	if s.limited {
		s.heard = time.Now() // while the sink had us wait, the silence was ours
	}
	return nil
}

// commit waits until what the ticket stands for is written.
func (s *session) commit(ticket record.Ticket) error {
	if _, ok := s.conn.(*threaded); ok {
		return s.server.sink.CommitNow(ticket)
	}
	return s.server.sink.Commit(ticket)
}

// encode appends one message to the workspace's output.
func (s *session) encode(ws *workspace, msg []byte, took int, flag framing.Flag) {
	ws.out = ws.encoder.Message(ws.out, s.offset, msg, flag.String())
	s.offset += int64(took)
	s.records++
}

// hand gives the output to the sink, which copies it. The ticket is for the wait until it is written.
func (s *session) hand(ws *workspace, ticket *record.Ticket) error {
	t, err := s.server.sink.Gather(ws.out)
	ws.out = ws.out[:0]
	*ticket = t
	return err
}

// fail counts the records since first as lost: the sink was closed before it had written them.
func (s *session) fail(first int64, err error) error {
	s.lost += s.records - first
	s.records = first
	return err
}

// finish records what is left of the client's bytes when no more will come. why stays the reason unless the sink fails.
func (s *session) finish(why reason, err error, flag framing.Flag) (reason, error) {
	if len(s.rest) == 0 {
		return why, err
	}
	ws := s.server.workspaces.get()
	ws.encoder.Begin(&s.source, time.Now())
	first, rest := s.records, s.rest
	for len(rest) > 0 {
		msg, took, f := s.framing.Rest(rest, flag)
		s.encode(ws, msg, took, f)
		rest = rest[took:]
	}
	s.rest = s.server.workspaces.keep(s.rest, nil)
	ticket, serr := s.server.sink.Gather(ws.out)
	s.server.workspaces.put(ws)
	if serr == nil {
		serr = s.commit(ticket)
	}
	if serr != nil {
		return bySink, s.fail(first, serr)
	}
	s.server.records.Add(s.records - first)
	return why, err
}

// event appends one record that says something about the session.
func (s *session) event(encode func(encoder, []byte) []byte) error {
	ws := s.server.workspaces.get()
	ws.encoder.Begin(&s.source, time.Now())
	ticket, err := s.server.sink.Gather(encode(ws.encoder, ws.out))
	s.server.workspaces.put(ws)
	if err == nil {
		err = s.commit(ticket)
	}
	return err
}

// setDeadline makes receive return when the client has been silent for idle_timeout, or, while the server drains, when that
// is over. It is called again when a deadline came too early, not at every read: a deadline costs more than the look at the
// clock that tells.
func (s *session) setDeadline() {
	var at time.Time // none
	if idle := s.idleTimeout(); idle > 0 {
		at = s.heard.Add(idle)
	}
	if !at.IsZero() || s.limited {
		s.conn.setReadDeadline(at)
		s.limited = !at.IsZero()
	}
	if s.server.expired.Load() { // it may have come between: the server sets its deadline only once
		s.conn.wake()
	}
}

// idleTimeout is the one in force now, also for sessions that began under another.
func (s *session) idleTimeout() time.Duration { return s.listener.settings.Load().IdleTimeout }

// deadline says whether the session is over, and why, after a deadline has passed.
func (s *session) deadline() (why reason, over bool) {
	if s.server.expired.Load() {
		return s.lastWords(byDrain), true
	}
	s.limited = true
	if s.unread() > 0 {
		s.heard = time.Now() // it came just now
	}
	if idle := s.idleTimeout(); idle > 0 && time.Since(s.heard) >= idle {
		return byIdle, true
	}
	s.setDeadline()
	return "", false
}

// lastWords records what has arrived by now, and no more, when the time to finish is over. It returns why, unless the sink
// fails.
func (s *session) lastWords(why reason) reason {
	for left := s.unread(); left > 0; {
		ws := s.server.workspaces.get() // before control, which others wait for
		n, err := 0, error(nil)
		s.conn.control(func(fd uintptr) { n, err = ws.read(int(fd)) })
		if err != nil || n <= 0 {
			s.server.workspaces.put(ws)
			break
		}
		if err := s.take(ws, n); err != nil {
			return bySink
		}
		left -= n
	}
	return why
}

// unread is how many bytes have arrived that were not read yet.
func (s *session) unread() (n int) {
	s.conn.control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) }) // on error: none
	return n
}

// halfClose tells the client that we will say no more, so that one that listens knows it should finish.
func (s *session) halfClose() {
	if c, ok := s.conn.(*child); ok {
		c.order(orderDrain)
		return
	}
	s.conn.control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) }) // a peer that has gone need not be told
}

// local is our end's address.
func (s *session) local() string {
	addr := s.listener.addr
	s.conn.control(func(fd uintptr) {
		if sa, err := syscall.Getsockname(int(fd)); err == nil {
			addr = addrPort(sa)
		}
	})
	return addr.String()
}

// cause takes the operation and the name off an error of os.File, which the log line's words give better.
func cause(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}

// reasonOf is the reason that goes with an error of the connection.
func reasonOf(err error, otherwise reason) reason {
	switch {
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return byReset
	case errors.Is(err, unix.ETIMEDOUT), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		return byLoss
	}
	return otherwise
}

// bootID is the first half of what the kernel calls this boot: with the cookie it names a session for good.
var bootID = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil { // the unit leaves no /proc/sys to see, and gives it in this way
		id = []byte(os.Getenv("TCPMUX_BOOT_ID"))
	}
	if short := strings.ReplaceAll(string(id), "-", ""); len(short) >= 16 {
		return short[:16]
	}
	return strconv.FormatInt(time.Now().UnixNano(), 16) // at least no two boots share a name
})

// socketCookie is the kernel's name for the connection, the same in every process that holds it (socket(7)).
func socketCookie(fd int) (uint64, error) {
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("read the connection's cookie: %w", os.NewSyscallError("getsockopt", err))
	}
	return cookie, nil
}
