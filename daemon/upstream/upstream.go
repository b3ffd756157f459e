// Package upstream connects with the server that a proxy is in front of: at the first of several
// addresses that answers, with a PROXY header and TLS where they are wanted. If none answers, the
// error says why, for each address that was tried.
package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/proxy"
)

// Kind is the kind of reason for which there is no connection.
type Kind string

// Kinds.
const (
	Refused     Kind = "refused"     // nobody listens there
	Timeout     Kind = "timeout"     // nobody has answered in time
	Unreachable Kind = "unreachable" // there is no way there
	Name        Kind = "name"        // the name has no address
	TLS         Kind = "tls"         // the handshake has failed, or the certificate is not good
	Reset       Kind = "reset"       // the server has broken the connection off before it was ready
	Loop        Kind = "loop"        // the address is where the client has connected
	Failed      Kind = "failed"      // anything else
)

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{Refused, Timeout, Unreachable, Name, TLS, Reset, Loop, Failed}
}

// Error tells why there is no connection. Its text has all addresses that were tried.
type Error struct {
	Kind Kind   // of what was tried last
	To   string // which that is
	text string
}

// Error returns the text.
func (e *Error) Error() string { return e.text }

// Ends are the two ends of a client's connection. The zero value of an address means that there is
// none, or that it is not known.
type Ends struct {
	Client, Server netip.AddrPort
	Peer           netip.AddrPort // who has connected: the client, or a proxy in front of the daemon
	Listener       string         // that the client is at
}

// Conn is a connection that is ready for the client's bytes.
type Conn struct {
	conn.Conn
	Address string // as it was connected with
	hop     hop
}

// Dialer makes connections. Its methods may be called from any goroutine.
type Dialer struct {
	of      config.Proxy
	lost    time.Duration
	lookup  func(ctx context.Context, network, host string) ([]netip.Addr, error)
	targets []target

	mu     sync.Mutex
	secure *tls.Config // nil: not read yet
}

// target is one of the configured upstreams.
type target struct {
	text, host string
	port       uint16
	path       string // of a unix socket; "": there is a host
}

// maxAddresses is how many addresses of a name are tried.
const maxAddresses = 8

// NewDialer returns what connects with the upstreams of c. lost is for sockopt.Set.
func NewDialer(c config.Proxy, lost time.Duration) *Dialer {
	d := &Dialer{of: c, lost: lost, lookup: net.DefaultResolver.LookupNetIP}
	for _, text := range c.To {
		if path, ok := strings.CutPrefix(text, config.UnixScheme); ok {
			d.targets = append(d.targets, target{text: text, path: path})
			continue
		}
		host, port, _ := net.SplitHostPort(text) // config has refused all others
		n, _ := net.LookupPort("tcp", port)
		d.targets = append(d.targets, target{text: text, host: host, port: uint16(n)})
	}
	return d
}

// attempt is one address that is tried.
type attempt struct {
	target
	addr netip.AddrPort
	way  []string // the listeners that the client has come through
	hop  hop      // the connection
}

// String returns the address as logs show it.
func (a *attempt) String() string {
	if a.path != "" {
		return a.text
	}
	return a.addr.String()
}

// Dial returns a connection with the first upstream that is there, for a client with these ends.
// The error is an *Error, or that of ctx, which may end it at any time.
func (d *Dialer) Dial(ctx context.Context, ends Ends) (Conn, error) {
	bounded, cancel := context.WithTimeout(ctx, d.of.ConnectTimeout)
	defer cancel()
	way, err := ends.way()
	if err != nil {
		return Conn{}, explain(d.targets[0].text, err)
	}
	var failed []*Error
	for i, t := range d.targets {
		others := len(d.targets) - i - 1
		tries, err := d.attempts(bounded, t, others)
		if err != nil {
			failed = append(failed, &Error{Kind: Name, To: t.text, text: err.Error()})
		}
		for j, a := range tries {
			a.way = way
			c, err := d.try(bounded, a, share(bounded, len(tries)-j+others), ends)
			if err == nil {
				return Conn{c, a.String(), a.hop}, nil
			}
			own.forget(a.hop)
			failed = append(failed, explain(a.String(), err))
			if bounded.Err() != nil {
				break
			}
		}
		if ctx.Err() != nil {
			return Conn{}, ctx.Err()
		}
		if bounded.Err() != nil {
			break
		}
	}
	return Conn{}, join(failed)
}

// errNoAddress reports that a resolver knows a name, and no address for it.
var errNoAddress = errors.New("it has no address")

// attempts returns the addresses of a target, at least one unless there is an error. While its name
// is looked up, the other targets wait.
func (d *Dialer) attempts(ctx context.Context, t target, others int) ([]*attempt, error) {
	if t.path != "" {
		return []*attempt{{target: t}}, nil
	}
	if ip, err := netip.ParseAddr(t.host); err == nil {
		return []*attempt{{target: t, addr: netip.AddrPortFrom(meant(ip), t.port)}}, nil
	}
	ctx, cancel := context.WithDeadline(ctx, share(ctx, others+1))
	defer cancel()
	ips, err := d.lookup(ctx, "ip", t.host)
	if err == nil && len(ips) == 0 {
		err = errNoAddress
	}
	if err != nil {
		return nil, fmt.Errorf("look up %q: %w", t.host, lookupCause(err))
	}
	var list []*attempt
	for _, ip := range ips[:min(len(ips), maxAddresses)] {
		list = append(list, &attempt{target: t, addr: netip.AddrPortFrom(meant(ip), t.port)})
	}
	return list, nil
}

// lookupCause returns what a resolver's error adds to the name.
func lookupCause(err error) error {
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return errors.New(e.Err)
	}
	return err
}

// minShare is the least time that an address has, however many there are.
const minShare = 2 * time.Second

// share returns the deadline of the next attempt, if as many attempts share the time of ctx.
func share(ctx context.Context, attempts int) time.Time {
	end, _ := ctx.Deadline() // there is one
	now := time.Now()
	by := now.Add(max(end.Sub(now)/time.Duration(max(attempts, 1)), minShare))
	if by.After(end) {
		return end
	}
	return by
}

// try makes a connection ready with one address.
func (d *Dialer) try(ctx context.Context, a *attempt, by time.Time, ends Ends) (conn.Conn, error) {
	if a.path == "" && a.addr == ends.Server {
		return nil, errLoop
	}
	p, err := d.connect(ctx, a, by)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, p.Expire)
	c, err := d.prepare(ctx, p, a, by, ends)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return c, nil
}

// prepare sends the header and speaks TLS, as far as these are wanted.
func (d *Dialer) prepare(ctx context.Context, p *conn.Poll, a *attempt, by time.Time, ends Ends) (conn.Conn, error) {
	if h := d.header(ends); h != nil {
		// A new connection has room for it.
		if n, err := p.TryWrite(h); err != nil || n < len(h) {
			return nil, fmt.Errorf("send the PROXY header: %w", cmp.Or[error](err, unix.EAGAIN))
		}
	}
	if !d.of.TLS {
		return p, nil
	}
	config, err := d.config(a.host)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errTLS, err)
	}
	return connectTLS(ctx, p, config, by)
}

// header returns the PROXY header for a client; nil if none is wanted.
func (d *Dialer) header(ends Ends) []byte {
	switch d.of.Header {
	case "v1":
		return proxy.Append1(nil, ends.Client, ends.Server)
	case "v2":
		return proxy.Append2(nil, ends.Client, ends.Server)
	}
	return nil
}

// explain returns the Error of an address that could not be connected with.
func explain(to string, err error) *Error {
	e := &Error{Kind: kindOf(err), To: to}
	text := err.Error()
	if e.Kind == Timeout {
		text = "no answer in time"
		if errors.Is(err, unix.ETIMEDOUT) {
			text = unix.ETIMEDOUT.Error()
		}
	}
	e.text = fmt.Sprintf("%s: %s%s", to, text, hint(err))
	return e
}

// hint names the next step where the daemon itself has no network.
func hint(err error) string {
	const unit = " (the service may have no network: see PROXY in tcpmux.toml(5))"
	switch {
	case os.Getenv("INVOCATION_ID") == "": // it is no service of systemd's
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EPERM):
		return unit
	}
	return ""
}

func kindOf(err error) Kind {
	for _, c := range [...]struct {
		err  error
		kind Kind
	}{
		{errLoop, Loop},
		{os.ErrDeadlineExceeded, Timeout}, {context.DeadlineExceeded, Timeout}, {unix.ETIMEDOUT, Timeout},
		{errTLS, TLS},
		{unix.ECONNREFUSED, Refused}, {unix.ENOENT, Refused},
		{unix.ENETUNREACH, Unreachable}, {unix.EHOSTUNREACH, Unreachable}, {unix.ENETDOWN, Unreachable},
		{unix.EHOSTDOWN, Unreachable}, {unix.EADDRNOTAVAIL, Unreachable}, {unix.EAFNOSUPPORT, Unreachable},
		{unix.ECONNRESET, Reset}, {unix.EPIPE, Reset},
	} {
		if errors.Is(err, c.err) {
			return c.kind
		}
	}
	return Failed
}

// join makes one error of those of all addresses.
func join(failed []*Error) *Error {
	last := *failed[len(failed)-1] // there is at least one target
	var texts []string
	for _, e := range failed {
		texts = append(texts, e.text)
	}
	last.text = strings.Join(texts, "; ")
	return &last
}
