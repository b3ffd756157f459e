package control

import (
	"context"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxHeader bounds the header of a request, of which net/http reads 4 KiB more.
	maxHeader = 8 << 10
	// maxTarget bounds the path and query of a request.
	maxTarget = 4 << 10
	// maxBody bounds the body of a request. No request needs one.
	maxBody = 64 << 10
	// maxAttr bounds what the log says of a request.
	maxAttr = 200
	// tailLines is about how many bytes of records a tail writes at once.
	tailLines = 16 << 10
)

// ReadLimit is how long the Daemon has to answer a request that changes nothing. What keeps it from
// answering, such as a reload that waits for a disk, has to take less.
const ReadLimit = 8 * time.Second

// limits are how much and how long. The memory that readers can take is about 25 KiB for each
// connection, for each tail the record that is being written and what waits in its subscription,
// and the lists of sessions that are being written: limits.lists for each class of readers.
type limits struct {
	connections       int // at once, on all control sockets
	statusConnections int // at once, on each status address
	overflow          int // further ones at once that are told so
	tails             int // at once, fewer than connections
	encoding          int // tails that encode records at the same moment
	calls             int // of the Daemon at once
	lists             int // of sessions that are written at once, to each class of readers

	header, body, write, idle time.Duration
	read                      time.Duration // for the Daemon to answer, without a change
	change                    time.Duration // for the Daemon to change something
	tailWrite                 time.Duration // for the reader of a tail to take a record
	turnedAway                time.Duration // for a connection of overflow
}

var defaultLimits = limits{
	connections:       128,
	statusConnections: 64,
	overflow:          16,
	tails:             100,
	encoding:          max(1, runtime.GOMAXPROCS(0)/4),
	calls:             64,
	lists:             4,
	header:            10 * time.Second,
	body:              20 * time.Second,
	write:             30 * time.Second,
	idle:              30 * time.Second,
	read:              ReadLimit,
	change:            45 * time.Second,
	tailWrite:         30 * time.Second,
	turnedAway:        time.Second,
}

// limitedListener accepts a number of connections at once, and some more that are marked, so that
// they are told why they are not served. Others wait in the backlog; where peers are known they do
// not, so that those who may always come in need not wait behind them.
type limitedListener struct {
	net.Listener
	served, slots chan struct{}
	turnedAway    time.Duration
	welcome       func(net.Conn) bool // reports who may always come in. nil: nobody is known
	closed        chan struct{}
	once          sync.Once
}

func limit(ln net.Listener, connections int, l limits, welcome func(net.Conn) bool) *limitedListener {
	return &limitedListener{
		Listener:   ln,
		served:     make(chan struct{}, connections),
		slots:      make(chan struct{}, connections+l.overflow),
		turnedAway: l.turnedAway,
		welcome:    welcome,
		closed:     make(chan struct{}),
	}
}

// Accept waits for a connection, and for a slot if peers are not known.
func (l *limitedListener) Accept() (net.Conn, error) {
	if l.welcome != nil {
		return l.acceptKnown()
	}
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return l.admit(c, func() { <-l.slots }), nil
}

// acceptKnown waits for a connection that has a slot, or needs none. It closes others.
func (l *limitedListener) acceptKnown() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return l.admit(c, func() { <-l.slots }), nil
		default:
		}
		if l.welcome(c) {
			return l.admit(c, func() {}), nil
		}
		_ = c.Close() // nothing was written
	}
}

// admit returns a connection that release gives the slot back of.
func (l *limitedListener) admit(c net.Conn, release func()) *limitedConn {
	limited := &limitedConn{Conn: c, release: release}
	select {
	case l.served <- struct{}{}:
		limited.release = func() { <-l.served; release() }
	default:
		limited.until.Store(time.Now().Add(l.turnedAway).UnixNano())
	}
	return limited
}

// Close closes the listener; connections live on.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// limitedConn gives its slot back when it is closed.
type limitedConn struct {
	net.Conn
	once    sync.Once
	release func()
	// Until when a connection of overflow may read, in nanoseconds of the clock; 0: it is none.
	until atomic.Int64
}

// Close closes the connection and gives its slot back.
func (c *limitedConn) Close() error {
	defer c.once.Do(c.release)
	return c.Conn.Close()
}

// SetReadDeadline keeps a connection of overflow from staying.
func (c *limitedConn) SetReadDeadline(t time.Time) error {
	if until := c.until.Load(); until != 0 && (t.IsZero() || t.UnixNano() > until) {
		t = time.Unix(0, until)
	}
	return c.Conn.SetReadDeadline(t)
}

// overflowed reports whether a connection is one too many.
func (c *limitedConn) overflowed() bool { return c.until.Load() != 0 }

// stay makes a connection of overflow one like the others.
func (c *limitedConn) stay() {
	c.until.Store(0)
	_ = c.Conn.SetReadDeadline(time.Time{}) // a connection that is closed shows with the next read
}

// boundedHandler bounds the messages of net/http, which quote what peers have sent.
type boundedHandler struct{ slog.Handler }

// Handle makes the message an attribute, which the log quotes.
func (h boundedHandler) Handle(ctx context.Context, r slog.Record) error {
	rec := slog.NewRecord(r.Time, r.Level, "control connection", r.PC)
	rec.AddAttrs(slog.String("err", clip(r.Message)))
	return h.Handler.Handle(ctx, rec)
}

// clip bounds a text for the log.
func clip(s string) string {
	if len(s) > maxAttr {
		return s[:maxAttr] + "…"
	}
	return s
}
