package daemon

import (
	"context"
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

	"tcpmux/daemon/admission"
	"tcpmux/daemon/record"
	"tcpmux/daemon/ring"
	"tcpmux/daemon/state"
)

// session is our dealings with one connection: whose it is, what serves it, and what became of it. Its goroutine owns it; the
// server may only drain, nudge and expire what serves it.
type session struct {
	server     *Server
	listener   *listener
	settings   *listenerSettings // as they were when it began
	events     bool              // its opening and closing are records
	openGiven  bool              // that of its opening is among those that were given to the sink
	closeGiven bool              // and so is that of its closing
	model      model
	threaded   bool // a goroutine that owns its thread serves it
	source     record.Source
	peer       netip.AddrPort // the other end of the connection
	pass       admission.Pass // what it counts in, until it is over
	opened     time.Time
	offset     int64 // bytes of the stream that messages have taken
	records    int64
	lost       int64 // records that the sink did not take

	slot  *state.Slot // what the next process will know; nil: nothing
	entry ring.Entry
	past  *past

	working bool // on the client's bytes

	// What the server has told it.
	leaving   atomic.Bool // it goes on with the next process
	finishing atomic.Bool // it is to come to its end
	overdue   atomic.Bool // its time for that is over
}

// model is what serves a client: the goroutine, thread or process of configuration's model. Only serve, which is called once, and
// close are its session's; the others may be called from anywhere, also after close.
type model interface {
	// serve greets the client and hands to the sink what it says, until it, the daemon or a fault ends that.
	serve() (reason, error)
	// drain tells the client, if it has been greeted, that we will say no more, so that it may finish.
	drain()
	// nudge has deadlines looked at anew, as a reload may have changed them.
	nudge()
	// expire ends serve, after what has arrived was recorded. A thread looks when the server's bell is rung; so with nudge.
	expire()
	// handOver has serve return byLeave, all that was not recorded left in the socket. A thread looks when the server's bell is rung.
	handOver()
	// control calls f with the connection's descriptor, unless it has been closed.
	control(f func(fd uintptr))
	close()
}

// newSession makes a session of an accepted connection. The descriptor is the session's from now on.
func newSession(srv *Server, ln *listener, fd int, remote netip.AddrPort) (*session, error) {
	cookie, err := socketCookie(fd)
	if err != nil {
		_ = unix.Close(fd) // nothing was read or written
		return nil, err
	}
	name := bootID() + "-" + strconv.FormatUint(cookie, 16)
	s := beginSession(srv, ln, record.Source{Listener: ln.name, Session: name, Remote: remote.String()})
	s.peer = remote
	if s.settings.proxied() {
		s.model, err = newHerald(s, fd)
	} else {
		err = s.setModel(fd)
	}
	if err != nil {
		return nil, err
	}
	srv.survival.add(s, fd, cookie)
	return s, nil
}

// beginSession makes a session that has no model yet.
func beginSession(srv *Server, ln *listener, source record.Source) *session {
	return &session{
		server:   srv,
		listener: ln,
		settings: ln.settings.Load(),
		events:   srv.events.Load(),
		source:   source,
		opened:   time.Now(),
		past:     &noPast,
	}
}

// setModel has the configured model serve the connection.
func (s *session) setModel(fd int) (err error) {
	if s.settings.ack.text != "" {
		// An acknowledgement does not wait until the client has the one before.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // it is only slower then
	}
	switch {
	case s.settings.launch != nil && s.past.resumed: // no program begins in the middle of a stream
		s.model, err = newTalk(s, fd)
	case s.settings.launch != nil && s.settings.Record:
		s.model, err = newRecordedExecution(s, fd)
	case s.settings.launch != nil:
		s.model = newExecution(s, fd)
	case s.settings.Model == "process":
		s.model = newChild(s, fd)
	case s.settings.Model == "thread":
		s.model, err = newThreadTalk(s, fd)
	default:
		s.model, err = newTalk(s, fd)
	}
	return err
}

// bidFinish tells the client that it may finish. It is called with the server's lock held.
func (s *session) bidFinish() {
	s.finishing.Store(true)
	s.model.drain()
}

// run is a session's goroutine: it serves the client to the end. When it returns all that the client sent is written, unless the
// sink, or the process that served it, has failed.
func (s *session) run() {
	defer s.notePanic()
	why, err := bySuspect, error(nil)
	if !s.past.suspect {
		why, err = s.model.serve()
	}
	if why = s.end(why); why != "" {
		s.log(why, err) // from here, as it is deep: a stack is the cheaper to grow the less is on it
	}
	s.server.forget(s)
}

// end ends a session that has been served: it is recorded, and the peer is told. It returns why it has ended; "" when it goes on in the
// next process, or never was one.
func (s *session) end(why reason) reason {
	switch {
	case s.leaving.Load() && (why == byLeave || why == bySink): // what the sink did not take is still in the socket
		s.model.close()
		return ""
	case why == byRefusal:
		s.server.survival.retire(s)
		s.model.close()
		return ""
	}
	if s.events && s.recordEnd(why) != nil {
		why = bySink
	}
	s.server.survival.retire(s)
	s.model.close()
	return why
}

// recordEnd appends the record that the session has ended.
func (s *session) recordEnd(why reason) error {
	s.closeGiven = true
	return s.event(func(e encoder, dst []byte) []byte {
		return e.Close(dst, string(why), s.records, s.offset)
	})
}

// level is that of the line which says how the session went. The record file has the end of a session too, where events are recorded;
// only what may have cost a record, and what the record file does not tell, is logged in any case.
func (s *session) level(why reason) slog.Level {
	switch {
	case s.lost > 0:
		return slog.LevelError
	case why == byExec, why == byChild, why == bySuspect, why == bySink:
		return slog.LevelWarn
	case why == byProxy: // the log alone says what is wrong with its header
		return slog.LevelInfo
	case s.events, s.silent():
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// silent reports whether the client has sent nothing, as health checks do. What a program gets without a record is not known.
func (s *session) silent() bool { return s.offset == 0 && s.settings.Record }

// log says in one line how the session went. It goes to the handler itself: slog's front would unwind the stack to find a
// source line that nobody asked for, which at thousands of visits a second is felt.
func (s *session) log(why reason, err error) {
	if s.silent() {
		s.server.silent.add(s.source.Remote)
	}
	level, ctx := s.level(why), context.Background()
	h := s.server.log.Handler()
	if !h.Enabled(ctx, level) {
		return
	}
	now := time.Now()
	if s.lost == 0 && !s.server.lines.allow(now) {
		return
	}
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
	if s.source.Proxy != "" {
		r.AddAttrs(slog.String("proxy", s.source.Proxy))
	}
	if err != nil {
		r.AddAttrs(slog.Any("err", err))
	}
	if s.lost > 0 {
		r.AddAttrs(slog.Int64("lost", s.lost))
	}
	_ = h.Handle(ctx, r) // there is nobody left to tell
}

// open appends the record that the client has connected.
func (s *session) open() error {
	if s.events && !s.past.opened {
		s.openGiven = true
		if err := s.event(encoder.Open); err != nil {
			return err
		}
	}
	s.slot.Open(s.opened)
	return nil
}

// setBusy notes whether the session works on the client's own bytes. A session over which process after process ends meanwhile is
// a suspect. A deferred call around the work would be simpler, and cost every session a larger stack.
func (s *session) setBusy(busy bool) {
	s.working = busy
	s.slot.SetBusy(busy)
}

// notePanic notes that the process ends by a panic over the client's bytes, rather than by somebody who has killed it. It is deferred
// where the session's goroutine begins, and so runs while a panic unwinds it.
func (s *session) notePanic() {
	if s.working {
		s.slot.SetPanic()
	}
}

// event appends one record that says something about the session.
func (s *session) event(encode func(encoder, []byte) []byte) error {
	ws := s.server.workspaces.get()
	ws.encoder.Begin(&s.source, time.Now())
	ws.out = encode(ws.encoder, ws.out)
	return s.hand(ws, s.records)
}

// message appends the record of a workspace's message, unless the process before has written it, and counts it.
func (s *session) message(ws *workspace) {
	if ws.message.Offset+int64(ws.message.Len()) > s.past.written {
		ws.out = ws.encoder.Message(ws.out, &ws.message)
	}
	if ws.message.Offset >= s.past.counted && ws.message.Flag != record.Between {
		s.records++
	}
}

// hand gives a workspace's output to the sink, which copies it, and waits until it is written; the workspace goes back
// before. The records since first are lost when the sink is closed.
func (s *session) hand(ws *workspace, first int64) error {
	ticket, err := s.server.sink.Gather(ws.out, s)
	s.server.workspaces.put(ws)
	if err == nil {
		if s.threaded {
			err = s.server.sink.CommitNow(ticket)
		} else {
			err = s.server.sink.Commit(ticket)
		}
	}
	if err != nil {
		return s.fail(first, err)
	}
	s.server.records.Add(s.records - first)
	return nil
}

// Taken implements record.Giver: it notes what the session has come to once its records up to there are written.
func (s *session) Taken(position int64) {
	s.slot.Mark(state.Written{Offset: s.offset, Records: s.records, Opened: s.openGiven, Closed: s.closeGiven}, position)
}

// fail counts the records since first as lost: the sink was closed before it had written them.
func (s *session) fail(first int64, err error) error {
	s.lost += s.records - first
	s.records = first
	return err
}

// local is our end's address.
func (s *session) local() netip.AddrPort {
	addr := s.listener.addr
	s.model.control(func(fd uintptr) {
		if sa, err := syscall.Getsockname(int(fd)); err == nil {
			addr = addrPort(sa)
		}
	})
	return addr
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
