package servertest

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"io"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/server"
	"tcpmux/daemon/tlsconn"
	"tcpmux/daemon/tlsconn/tlstest"
)

// TLS is how the clients of a fixture speak TLS. Those that show a certificate of the authority are
// known by its subject.
type TLS struct {
	Authority *tlstest.Authority
	server    *tls.Config
}

// NewTLS returns one with a new authority.
func NewTLS(t *testing.T) *TLS {
	a := tlstest.NewAuthority(t)
	return &TLS{a, &tls.Config{
		Certificates:           []tls.Certificate{a.Server()},
		ClientCAs:              a.Pool(),
		ClientAuth:             tls.VerifyClientCertIfGiven,
		SessionTicketsDisabled: true,
	}}
}

// Option has the clients of all listeners speak TLS.
func (x *TLS) Option(o *server.Options) {
	opt := &tlsconn.Options{Config: func() *tls.Config { return x.server }, Timeout: Patience}
	o.TLS = func(config.Listener) *tlsconn.Options { return opt }
}

// Certificate returns a certificate with which a client is known.
func (x *TLS) Certificate(subject pkix.Name) tls.Certificate { return x.Authority.Issue(subject, nil) }

// TLSClient is a Client that speaks TLS.
type TLSClient struct {
	*tls.Conn
	// Raw is the connection below.
	Raw *Client
}

// Client is Fixture.Client, and makes the handshake; with certificates the client shows one.
func (x *TLS) Client(f *Fixture, certificates ...tls.Certificate) *TLSClient {
	f.T.Helper()
	return x.Over(f.Client(), certificates...)
}

// Over makes the handshake on a client's connection.
func (x *TLS) Over(raw *Client, certificates ...tls.Certificate) *TLSClient {
	raw.t.Helper()
	c := tls.Client(raw.TCPConn, &tls.Config{
		RootCAs: x.Authority.Pool(), ServerName: "localhost", Certificates: certificates,
	})
	if err := c.Handshake(); err != nil {
		raw.t.Fatalf("handshake: %v", err)
	}
	return &TLSClient{c, raw}
}

// Addr returns the client's address as records have it.
func (c *TLSClient) Addr() string { return c.Raw.Addr() }

// Say sends text.
func (c *TLSClient) Say(text string) {
	c.Raw.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.Raw.t.Fatalf("say %.40q: %v", text, err)
	}
}

// Hear takes what is sent to the client, which has to be text.
func (c *TLSClient) Hear(text string) {
	c.Raw.t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != text {
		c.Raw.t.Fatalf("heard %.80q and %v, want %.80q", got[:n], err, text)
	}
}

// HearEnd takes and returns what is sent to the client until close_notify, which has to come.
func (c *TLSClient) HearEnd() string {
	c.Raw.t.Helper()
	rest, err := io.ReadAll(c)
	if err != nil {
		c.Raw.t.Errorf("heard %.80q and %v, want the end of the stream", rest, err)
	}
	return string(rest)
}
