package session

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/conn/conntest"
	"tcpmux/daemon/logging"
	"tcpmux/daemon/record"
	"tcpmux/daemon/sink"
	"tcpmux/daemon/sockaddr"
)

// errGone is how a connection breaks whose client has vanished.
var errGone = unix.ETIMEDOUT

// peer is who connects to a fixture.
var peer = sockaddr.TCP(netip.MustParseAddrPort("192.0.2.7:4711"))

// fixture is a session over a connection in memory, in a bubble of testing/synctest: its times are
// exact. Everything can be changed until start.
type fixture struct {
	t      *testing.T
	client *conntest.Conn
	sink   *fakeSink
	env    *Env
	config Config
	bounds atomic.Pointer[Bounds]
	*Session

	log    bytes.Buffer
	ended  chan struct{}
	opened time.Time
	lasted time.Duration // once it has ended
}

// bubble runs a test with a fixture, whose listener has the defaults and change made to them; nil
// changes nothing. The session has ended when the test has.
func bubble(t *testing.T, change func(*config.Listener), test func(f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, change)
		test(f)
		if f.Session == nil {
			return
		}
		f.client.Break(errGone)
		f.Enter(Over)
		f.sink.resume()
		<-f.ended
		if !f.client.Closed() {
			t.Error("the connection is open after the end of the session")
		}
	})
}

func newFixture(t *testing.T, change func(*config.Listener)) *fixture {
	l := config.Default().Listeners[0]
	l.Banner = config.Bytes{}
	if change != nil {
		change(&l)
	}
	f := &fixture{
		t: t, client: conntest.New(), sink: newFakeSink(), ended: make(chan struct{}), opened: time.Now(),
	}
	f.env = &Env{
		Buffers:       NewBuffers(func() Encoder { return record.NewEncoder(record.Text) }),
		Spill:         NewSpill(),
		Log:           slog.New(slog.NewTextHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Lines:         logging.SessionLines(),
		Visits:        &logging.Visits{},
		BannerTimeout: 10 * time.Second,
		Admit:         func(*Session, sockaddr.Peer) bool { return true },
	}
	f.bounds.Store(BoundsOf(l))
	settings := NewSettings(l, 0)
	settings.Sink = f.sink
	f.config = Config{
		Env: f.env, Settings: settings, Bounds: &f.bounds, Conn: f.client,
		Source: record.Source{Listener: "tcpmux", Session: "0-1", Remote: peer.String()},
		Opened: f.opened, Events: config.AllEvents, Past: &Past{},
	}
	return f
}

// start has the session run, until it waits.
func (f *fixture) start() {
	f.Session = New(f.config)
	go func() {
		defer close(f.ended)
		for s := f.Session; s != nil; {
			s = s.Run()
		}
		f.lasted = time.Since(f.opened)
	}()
	synctest.Wait()
}

// send has the client send texts, each of which the session sees alone.
func (f *fixture) send(texts ...string) {
	for _, text := range texts {
		f.client.Send(text)
		synctest.Wait()
	}
}

// sendEnd has the client send no more.
func (f *fixture) sendEnd() {
	f.client.SendEnd()
	synctest.Wait()
}

// pass lets time pass.
func (f *fixture) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// enter has the session enter a phase.
func (f *fixture) enter(p Phase) {
	f.Enter(p)
	synctest.Wait()
}

// served fails the test unless the session goes on.
func (f *fixture) served() {
	f.t.Helper()
	select {
	case <-f.ended:
		f.t.Fatalf("the session has ended after %v, want it to go on; records: %q", f.lasted, f.records())
	default:
	}
}

// over waits for the end of the session, which has to come without time that passes, after it has
// lasted that long.
func (f *fixture) over(lasted time.Duration) {
	f.t.Helper()
	select {
	case <-f.ended:
	default:
		f.t.Fatalf("the session goes on, want it to end after %v; records: %q", lasted, f.records())
	}
	if f.lasted != lasted {
		f.t.Errorf("lasted %v, want %v", f.lasted, lasted)
	}
}

// records returns the lines that are written, without the time and the client.
func (f *fixture) records() (lines []string) { return linesOf(f.sink.written()) }

func linesOf(text string) (lines []string) {
	for line := range strings.Lines(text) {
		_, line, _ = strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		line = strings.TrimPrefix(strings.Replace(" "+line, " from "+peer.String(), "", 1), " ")
		lines = append(lines, line)
	}
	return lines
}

// recorded fails the test unless the records are want.
func (f *fixture) recorded(want ...string) {
	f.t.Helper()
	if got := strings.Join(f.records(), "\n"); got != strings.Join(want, "\n") {
		f.t.Errorf("records: got %.400q, want %.400q", got, strings.Join(want, "\n"))
	}
}

// unread fails the test unless n bytes are in the socket.
func (f *fixture) unread(n int) {
	f.t.Helper()
	if got := f.client.Unread(); got != n {
		f.t.Errorf("in the socket: got %d bytes, want %d", got, n)
	}
}

// received fails the test unless the client has got that text, and perhaps the end.
func (f *fixture) received(want string, end bool) {
	f.t.Helper()
	if got, ended := f.client.Received(), f.client.WriteClosed(); got != want || ended != end {
		f.t.Errorf("received %.200q and the end: %v, want %.200q and %v", got, ended, want, end)
	}
}

// fakeSink keeps what it is given, and writes it unless it is held up.
type fakeSink struct {
	mu     sync.Mutex
	cond   *sync.Cond
	lines  bytes.Buffer
	done   int // bytes that are written
	held   bool
	fault  error  // what all calls return; the sink was closed
	before func() // called before each call; nil: nothing is
}

func newFakeSink() *fakeSink {
	s := &fakeSink{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

// hold has all wait that want something written.
func (s *fakeSink) hold() { s.change(func() { s.held = true }) }

// resume ends hold.
func (s *fakeSink) resume() { s.change(func() { s.held = false }) }

// close has all calls fail, and what is not written by then is lost.
func (s *fakeSink) close(err error) { s.change(func() { s.fault = err }) }

func (s *fakeSink) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.cond.Broadcast()
}

func (s *fakeSink) written() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines.String()[:s.done]
}

// Gather implements Sink.
func (s *fakeSink) Gather(lines []byte, by sink.Giver) (sink.Ticket, error) {
	if s.before != nil {
		s.before()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		return 0, s.fault
	}
	s.lines.Write(lines)
	by.Taken(int64(s.lines.Len()))
	return sink.Ticket(s.lines.Len()), nil
}

// Commit implements Sink.
func (s *fakeSink) Commit(t sink.Ticket) error {
	if s.before != nil {
		s.before()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.held && s.fault == nil {
		s.cond.Wait()
	}
	if s.fault != nil {
		return s.fault
	}
	s.done = max(s.done, int(t))
	return nil
}

// CommitNow implements Sink.
func (s *fakeSink) CommitNow(t sink.Ticket) error { return s.Commit(t) }

// isHeld reports whether the sink is held up.
func (s *fakeSink) isHeld() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}
