package tlsconn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// ErrServer reports that who was connected with has no certificate that config accepts, or does not
// speak TLS.
var ErrServer = errors.New("TLS")

// Connect makes the handshake as the client, until the deadline. over is asked when a wait ends
// early (Wake, Expire): an error of it is why to give up. From then on crypto/tls encrypts and
// decrypts: the connection ends with the process. It is called once, instead of Handshake.
func (c *Conn) Connect(config *tls.Config, deadline time.Time, over func() error) error {
	interrupt := func(bool) (time.Time, error) { return time.Time{}, over() }
	w := &wire{below: c.Conn, exact: true, deadline: deadline, interrupt: interrupt}
	t := tls.Client(w, config)
	err := t.Handshake()
	c.Conn.SetReadDeadline(time.Time{})
	c.Conn.SetWriteDeadline(time.Time{})
	w.exact = false
	switch {
	case err == nil:
		c.secure(&user{tls: t, wire: w})
		return nil
	case errors.Is(w.failed, os.ErrDeadlineExceeded):
		return w.failed
	case w.failed == io.EOF:
		err = io.ErrUnexpectedEOF
	case w.failed != nil:
		return w.failed
	}
	return fmt.Errorf("%w: %w", ErrServer, err)
}
