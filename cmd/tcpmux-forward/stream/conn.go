package stream

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tcpmux/config"
	"tcpmux/daemon/delivery"
)

// Conn is a connection to a server. It is for one goroutine; Closed, Info and Close may be called
// at any time. When the context of a call ends, the connection may be closed.
type Conn struct {
	opt       Options
	filter    string
	prefix    string // of the subjects of JetStream's API
	stream    delivery.Stream
	config    jetstream.StreamConfig
	clustered bool // the servers of the stream are a cluster
	nc        *nats.Conn
	raw       *dialer
	info      Info

	// life ends when the connection does.
	life context.Context
	end  context.CancelFunc

	mu      sync.Mutex
	trouble error // what the server has reported outside of an answer

	// known is up to where it is known what the stream has of this machine.
	known known
	pub   publisher
}

// known is what the stream has of this machine.
type known struct {
	cursor   delivery.Cursor
	sequence uint64 // of the last message of this machine; 0 if there is none
	// streamLast is the last of anybody, when the sequence was at most what it is here.
	streamLast uint64
}

// dialer ends what it has dialed when the context of a call ends: the client of NATS knows no
// context when it connects and when it writes.
type dialer struct {
	ctx     context.Context // of Connect
	timeout time.Duration

	mu   sync.Mutex
	conn net.Conn
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: d.timeout}).DialContext(d.ctx, network, address)
	d.mu.Lock()
	d.conn = conn
	d.mu.Unlock()
	return conn, err
}

func (d *dialer) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		_ = d.conn.Close() // it is of no more use
	}
}

// Connect makes one attempt to connect, and checks the stream, or creates it if that is configured.
// Files with credentials are read each time.
func Connect(ctx context.Context, opt Options) (*Conn, error) {
	s, err := readSecrets(&opt.Forward)
	if err != nil {
		return nil, err
	}
	c := &Conn{
		opt: opt, filter: Filter(opt.Forward, opt.Host), prefix: apiPrefix(&opt.Forward),
		raw:  &dialer{ctx: ctx, timeout: opt.Timeout},
		info: Info{Warnings: s.warnings},
	}
	c.life, c.end = context.WithCancel(context.Background())
	if err := c.dial(ctx, s.options); err != nil {
		c.end()
		return nil, err
	}
	if err := c.begin(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func apiPrefix(f *config.Forward) string {
	if f.Domain == "" {
		return "$JS.API."
	}
	return "$JS." + f.Domain + ".API."
}

func (c *Conn) dial(ctx context.Context, options []nats.Option) (err error) {
	options = append(options,
		nats.Name("tcpmux-forward "+c.opt.Host),
		nats.NoReconnect(),
		nats.Timeout(c.opt.Timeout),
		nats.FlusherTimeout(c.opt.Timeout),
		nats.PingInterval(20*time.Second),
		nats.MaxPingsOutstanding(2),
		nats.WriteBufferSize(256<<10),
		nats.SetCustomDialer(c.raw),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.fail(err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.fail(err) }),
		nats.ClosedHandler(func(*nats.Conn) { c.end() }),
	)
	defer context.AfterFunc(ctx, c.raw.abort)()
	c.nc, err = nats.Connect(strings.Join(c.opt.Forward.Servers, ","), options...)
	if ctx.Err() != nil {
		if err == nil {
			c.nc.Close()
		}
		return ctx.Err()
	}
	if err != nil {
		return dialError(c.opt.Forward.Servers, err)
	}
	c.info.Server = c.nc.ConnectedUrlRedacted()
	c.info.ServerVersion = c.nc.ConnectedServerVersion()
	c.info.MaxPayload = c.nc.MaxPayload()
	return nil
}

// begin prepares what is published with.
func (c *Conn) begin(ctx context.Context) error {
	if err := c.check(ctx); err != nil {
		return err
	}
	return c.pub.open(c)
}

// fail notes what the server has reported, of which the first counts, and ends the connection: who
// waits for an answer may not get it.
func (c *Conn) fail(err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	if c.trouble == nil {
		c.trouble = asyncError(err)
	}
	c.mu.Unlock()
	c.end()
}

// failed returns why a call has to end: its context, what the server has reported, or that the
// connection is lost.
func (c *Conn) failed(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trouble != nil {
		return c.trouble
	}
	if c.life.Err() != nil {
		return &Error{Kind: Outage, Err: errLost}
	}
	return nil
}

var errLost = errors.New("the connection was lost")

// Closed returns a channel that is closed when the connection has ended or failed.
func (c *Conn) Closed() <-chan struct{} { return c.life.Done() }

// Info returns what is known about the connection.
func (c *Conn) Info() Info { return c.info }

// Close ends the connection.
func (c *Conn) Close() {
	c.end()
	c.raw.abort() // so that it waits for no write
	c.nc.Close()
}
