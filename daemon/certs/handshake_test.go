package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"tcpmux/daemon/tlsconn"
)

// handshake has a client connect, and returns the errors of both sides.
func (f *fixture) handshake(s *Set, certs ...tls.Certificate) (server, client error) {
	f.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(f.ca.cert)
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() {
		conn := tls.Client(b, &tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: certs})
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Read(make([]byte, 1)) // TLS 1.3: the server decides later
		}
		done <- err
	}()
	conn := tls.Server(a, s.Config())
	server = conn.Handshake()
	if server == nil {
		_, _ = conn.Write([]byte("x"))
	}
	_ = a.Close()
	return server, <-done
}

// shown is what a client shows.
func (f *fixture) shown(chain ...*x509.Certificate) tls.Certificate {
	c := tls.Certificate{PrivateKey: f.clientKey}
	for _, one := range chain {
		c.Certificate = append(c.Certificate, one.Raw)
	}
	return c
}

func TestWhichClientsAreLetIn(t *testing.T) {
	revoked := func(f *fixture) {
		f.crl(encode("X509 CRL", f.clients.revoke(time.Now().Add(time.Hour), nil, f.client)))
	}
	for name, c := range map[string]struct {
		auth   string
		change func(f *fixture)
		shown  func(f *fixture) []tls.Certificate
		want   string // "": it is let in
	}{
		"nobody is asked":         {auth: "none"},
		"none is requested":       {auth: "request"},
		"none is there":           {auth: "require", want: "didn't provide a certificate"},
		"a good one":              {auth: "require", shown: func(f *fixture) []tls.Certificate { return []tls.Certificate{f.shown(f.client)} }},
		"a good one on request":   {auth: "request", shown: func(f *fixture) []tls.Certificate { return []tls.Certificate{f.shown(f.client)} }},
		"a stranger's":            {auth: "require", shown: stranger, want: "unknown authority"},
		"a stranger's on request": {auth: "request", shown: stranger, want: "unknown authority"},
		"a server's": {auth: "require", shown: func(f *fixture) []tls.Certificate {
			c := template("x")
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			return []tls.Certificate{f.shown(f.clients.issue(c, f.clientKey))}
		}, want: "incompatible key usage"},
		"an expired one": {auth: "require", shown: func(f *fixture) []tls.Certificate {
			c := clientTemplate("x")
			c.NotAfter = time.Now().Add(-time.Minute)
			return []tls.Certificate{f.shown(f.clients.issue(c, f.clientKey))}
		}, want: "expired"},
		"a revoked one": {auth: "require", change: revoked, shown: func(f *fixture) []tls.Certificate { return []tls.Certificate{f.shown(f.client)} },
			want: `"CN=device", serial number 2, is revoked`},
		"a revoked one on request": {auth: "request", change: revoked, shown: func(f *fixture) []tls.Certificate { return []tls.Certificate{f.shown(f.client)} },
			want: "is revoked"},
		"one next to a revoked one": {auth: "require", change: revoked,
			shown: func(f *fixture) []tls.Certificate {
				return []tls.Certificate{f.shown(f.clients.issue(clientTemplate("other"), f.clientKey))}
			}},
		"revoked by an old list": {auth: "require", change: func(f *fixture) {
			f.crl(string(f.clients.revoke(time.Now().Add(-time.Hour), nil, f.client)))
		}, shown: func(f *fixture) []tls.Certificate { return []tls.Certificate{f.shown(f.client)} }, want: "is revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.mutual(c.auth)
			if c.change != nil {
				c.change(f)
			}
			var certs []tls.Certificate
			if c.shown != nil {
				certs = c.shown(f)
			}
			server, client := f.handshake(f.open(), certs...)
			switch {
			case c.want == "" && server == nil && client == nil:
			case c.want == "" || server == nil:
				t.Errorf("got %v, and %v at the client, want %q", server, client, c.want)
			case !strings.Contains(server.Error(), c.want) || client == nil || errors.Is(client, io.EOF):
				t.Errorf("got %v, and %v at the client, want %q and an alert", server, client, c.want)
			}
			if strings.Contains(c.want, "revoked") && !errors.Is(server, tlsconn.ErrCertificate) {
				t.Errorf("got %v, want ErrCertificate", server)
			}
		})
	}
}

func stranger(f *fixture) []tls.Certificate {
	return []tls.Certificate{f.shown(newAuthority(f.t, "clients", nil).issue(clientTemplate("x"), f.clientKey))}
}

// TestARevokedAuthorityIsNotTrusted, whether its certificate comes from the client or stands in
// client_ca.
func TestARevokedAuthorityIsNotTrusted(t *testing.T) {
	f := newFixture(t)
	f.mutual("require")
	between := newAuthority(t, "between", f.clients)
	client := between.issue(clientTemplate("device"), f.clientKey)
	if server, _ := f.handshake(f.open(), f.shown(client, between.cert)); server != nil {
		t.Fatalf("before: got %v, want it let in", server)
	}
	f.crl(string(f.clients.revoke(time.Now().Add(time.Hour), nil, between.cert)))
	for _, known := range []bool{false, true} {
		if known {
			f.write("clients.pem", certPEM(f.clients.cert, between.cert))
		}
		server, _ := f.handshake(f.open(), f.shown(client, between.cert))
		if !errors.Is(server, tlsconn.ErrCertificate) {
			t.Errorf("in client_ca: %v: got %v, want %v", known, server, tlsconn.ErrCertificate)
		}
	}
}

// TestASecondChainCounts: one that is not revoked is enough, as after an authority was signed anew.
func TestASecondChainCounts(t *testing.T) {
	f := newFixture(t)
	l := &loaded{lists: []*list{{issuer: f.clients.cert, serials: map[string]bool{string(f.client.SerialNumber.Bytes()): true}}}}
	good, bad := []*x509.Certificate{f.cert, f.ca.cert}, []*x509.Certificate{f.client, f.clients.cert}
	if err := l.verifyPeer(nil, [][]*x509.Certificate{bad, good}); err != nil {
		t.Errorf("got %v, want it let in", err)
	}
	if err := l.verifyPeer(nil, [][]*x509.Certificate{bad}); err == nil {
		t.Error("got no error, want one")
	}
}

func TestTheLowestVersion(t *testing.T) {
	f := newFixture(t)
	for version, want := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		f.config.MinVersion = version
		c := f.open().Config()
		if c.MinVersion != want || !c.SessionTicketsDisabled {
			t.Errorf("%s: got %x, tickets disabled: %v", version, c.MinVersion, c.SessionTicketsDisabled)
		}
	}
}
