// Package secure is TLS as a client speaks it: the flags of the commands that connect, and the
// connections that these ask for.
package secure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/spf13/pflag"
)

// Flags are what a command line says of TLS.
type Flags struct {
	// TLS reports whether TLS is spoken; without it the others are not set.
	TLS bool
	// CA is a file with the certificates to trust, in PEM; "" is for those of the system.
	CA string
	// Certificate is a file with the client's certificate, and Key one with its key, both in
	// PEM; a Key of "" is in the file of the certificate.
	Certificate, Key string
	// Name is the name to ask for and to find in the server's certificate; "" is for that of
	// the host.
	Name string
	// Insecure reports whether any server is trusted.
	Insecure bool
}

// Define adds the flags to a command.
func (f *Flags) Define(flags *pflag.FlagSet) {
	flags.BoolVar(&f.TLS, "tls", false, "speak TLS")
	flags.StringVar(&f.CA, "ca", "", "with --tls: a `FILE` with the certificates to trust (default: the system's)")
	flags.StringVar(&f.Certificate, "cert", "", "with --tls: a `FILE` with our certificate, and the key unless there is --key")
	flags.StringVar(&f.Key, "key", "", "with --cert: a `FILE` with the key")
	flags.StringVar(&f.Name, "server-name", "", "with --tls: the `NAME` to ask for and to find in the server's certificate (default: the host)")
	flags.BoolVar(&f.Insecure, "insecure", false, "with --tls: trust any server")
}

// Check reports flags that contradict each other.
func (f *Flags) Check() error {
	for _, one := range []struct {
		name string
		set  bool
	}{
		{"ca", f.CA != ""}, {"cert", f.Certificate != ""}, {"key", f.Key != ""},
		{"server-name", f.Name != ""}, {"insecure", f.Insecure},
	} {
		if one.set && !f.TLS {
			return fmt.Errorf("--%s without --tls", one.name)
		}
	}
	switch {
	case f.Key != "" && f.Certificate == "":
		return errors.New("--key without --cert")
	case f.Insecure && f.CA != "":
		return errors.New("--insecure together with --ca, want one of them")
	}
	return nil
}

// Config reads the files, and returns how to speak to a server at host, which is "" for one at a
// unix socket; nil if that is not TLS.
func (f *Flags) Config(host string) (*tls.Config, error) {
	if !f.TLS {
		return nil, nil
	}
	c := &tls.Config{ServerName: host, InsecureSkipVerify: f.Insecure}
	if f.Name != "" {
		c.ServerName = f.Name
	}
	if c.ServerName == "" && !f.Insecure {
		return nil, errors.New("--tls over a unix socket: want --server-name NAME, or --insecure")
	}
	if f.CA != "" {
		text, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("read --ca: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read --ca: %q has no certificate in PEM", f.CA)
		}
	}
	if f.Certificate == "" {
		return c, nil
	}
	key := f.Key
	if key == "" {
		key = f.Certificate
	}
	own, err := tls.LoadX509KeyPair(f.Certificate, key)
	if err != nil {
		return nil, fmt.Errorf("read --cert %q: %w", f.Certificate, err)
	}
	c.Certificates = []tls.Certificate{own}
	return c, nil
}

// Conn is a connection in clear text or in TLS.
type Conn interface {
	net.Conn
	// CloseWrite tells the server that nothing more will come.
	CloseWrite() error
}

// Socket is a connection in clear text: a *net.TCPConn or a *net.UnixConn.
type Socket interface {
	Conn
	syscall.Conn
}

// Connect returns the connection that c asks for over a new one, which is closed after an error. A
// nil c is clear text. The handshake ends with ctx.
func Connect(ctx context.Context, below Socket, c *tls.Config) (Conn, error) {
	if c == nil {
		return below, nil
	}
	conn := tls.Client(below, c)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = below.Close() // nothing was sent
		return nil, explain(err)
	}
	return conn, nil
}

// Below returns the socket of a connection.
func Below(c Conn) Socket {
	if conn, ok := c.(*tls.Conn); ok {
		return conn.NetConn().(Socket)
	}
	return c.(Socket)
}

// explain adds the next step to the error of a handshake.
func explain(err error) error {
	var head tls.RecordHeaderError
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &head):
		return errors.New("the server does not speak TLS: leave out --tls")
	case errors.As(err, &untrusted):
		return fmt.Errorf("%w (--ca FILE trusts an authority, --server-name NAME wants another name, --insecure trusts any server)", err)
	}
	return fmt.Errorf("TLS handshake: %w", err)
}
