package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"time"

	"tcpmux/daemon/certs"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/tlsconn"
)

// errTLS reports that the server does not speak TLS, or has no certificate that is accepted.
var errTLS = tlsconn.ErrServer

// connectTLS makes the handshake, until the deadline or the end of ctx, whose error it then returns:
// both may come in the same moment, and the end of the time is a timeout either way.
func connectTLS(ctx context.Context, p *conn.Poll, c *tls.Config, by time.Time) (conn.Conn, error) {
	t := tlsconn.New(p)
	if err := t.Connect(c, by, ctx.Err); err != nil {
		return nil, err
	}
	return t, nil
}

// config returns how to speak TLS with a host; "" is a unix socket. The files are read when that is
// first needed: an error is tried again.
func (d *Dialer) config(host string) (*tls.Config, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.secure == nil {
		c, err := certs.ForClient(d.of)
		if err != nil {
			return nil, err
		}
		d.secure = c
	}
	c := d.secure.Clone()
	c.ServerName = cmp.Or(d.of.ServerName, host)
	return c, nil
}
