package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/daemon/tlsconn/tlstest"
	"tcpmux/internal/await"
)

// splitting is a connection whose first records are cut: each byte is sent alone, and in a record
// of its own.
type splitting struct {
	net.Conn
	began bool
}

// Write implements net.Conn.
func (s *splitting) Write(b []byte) (int, error) {
	if s.began {
		return s.Conn.Write(b)
	}
	s.began = true
	const head = 5
	for _, c := range b[head:] {
		for _, part := range []byte{b[0], b[1], b[2], 0, 1, c} {
			if _, err := s.Conn.Write([]byte{part}); err != nil {
				return 0, err
			}
		}
	}
	return len(b), nil
}

// TestAHelloInPiecesIsAHello: in records of one byte each, which arrive byte by byte.
func TestAHelloInPiecesIsAHello(t *testing.T) {
	d := secured(t, secureSettings{tls: `min_version = "1.2"`})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := d.client()
		config.MaxVersion = version
		conn := dial(t, d.address)
		client := tls.Client(&splitting{Conn: conn}, config)
		hearTLS(t, client, "hello\n")
		_ = client.Close()
	}
	d.ended(2)
}

// TestNoHandshakeIsNoSession: what comes instead of one is told apart, and no part of it is a
// message.
func TestNoHandshakeIsNoSession(t *testing.T) {
	d := secured(t, secureSettings{})
	for i, c := range []struct{ name, text, reason string }{
		{"clear text", "secret\nsecret\n", "plaintext"},
		{"clear text without an end", "secret", "plaintext"},
		{"HTTP", "GET /secret HTTP/1.1\r\nHost: x\r\n\r\n", "plaintext"},
		{"a record of garbage", "\x16\x03\x01\x00\x06secret", "handshake"},
		{"a record that is too long", "\x16\x03\x01\xff\xff" + strings.Repeat("secret", 20_000), "handshake"},
		{"an empty record", "\x16\x03\x01\x00\x00", "handshake"},
		{"a message that is too long", "\x16\x03\x01\x00\x0a\x01\xff\xff\xffsecret", "handshake"},
		{"early data", "\x16\x03\x01\x00\x04\x01\x00\x00\x05\x17\x03\x03\x00\x06secret", "handshake"},
	} {
		conn := dial(t, d.address)
		_, _ = io.WriteString(conn, c.text) // the daemon may have closed
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
		if why := reasons(d.ended(i + 1))[i]; why != c.reason {
			t.Errorf("%s: got reason %s, want %s", c.name, why, c.reason)
		}
	}
	if got, _ := os.ReadFile(d.records); len(said(d.entries())) > 0 || bytes.Contains(got, []byte("secret")) {
		t.Errorf("records: got %s, want nothing that was said", got)
	}
	d.serves(d.client())
}

// TestTLSWhereClearTextIsSpokenIsTold by the reason.
func TestTLSWhereClearTextIsSpokenIsTold(t *testing.T) {
	d := secured(t, secureSettings{listeners: "[[listener]]\nname = \"clear\"\naddress = \"127.0.0.1:0\"\nbanner = \"\"\ntls.certificate = \"\"\n"})
	d.hear("listener=clear")
	_, rest, _ := strings.Cut(d.seen[strings.Index(d.seen, "listener=clear"):], "address=")
	client := tls.Client(dial(t, strings.Fields(rest)[0]), d.client())
	if err := client.Handshake(); err == nil {
		t.Error("the handshake is done")
	}
	if why := reasons(d.ended(1)); why[0] != "tls" {
		t.Errorf("got reason %s, want tls", why)
	}
}

// TestNoDowngrade: a version below the least one is refused.
func TestNoDowngrade(t *testing.T) {
	for _, c := range []struct {
		min string
		max uint16
		ok  bool
	}{
		{"1.2", tls.VersionTLS10, false}, {"1.2", tls.VersionTLS11, false}, {"1.2", tls.VersionTLS12, true},
		{"1.3", tls.VersionTLS11, false}, {"1.3", tls.VersionTLS12, false}, {"1.3", tls.VersionTLS13, true},
	} {
		t.Run(fmt.Sprintf("%s where %s is the least", tls.VersionName(c.max), c.min), func(t *testing.T) {
			d := secured(t, secureSettings{tls: fmt.Sprintf("min_version = %q", c.min)})
			config := d.client()
			config.MinVersion, config.MaxVersion = tls.VersionTLS10, c.max
			client := tls.Client(dial(t, d.address), config)
			if err := client.Handshake(); (err == nil) != c.ok {
				t.Errorf("got %v, want success: %v", err, c.ok)
			}
			if c.ok {
				return
			}
			if why := reasons(d.ended(1)); why[0] != "handshake" {
				t.Errorf("got reason %s, want handshake", why)
			}
		})
	}
	d := secured(t, secureSettings{tls: `min_version = "1.2"`})
	conn := dial(t, d.address)
	_, _ = io.WriteString(conn, "\x16\x03\x00\x00\x2d\x01\x00\x00\x29\x03\x00"+strings.Repeat("r", 32)+"\x00\x00\x02\x00\x2f\x01\x00") // SSLv3
	_, _ = io.Copy(io.Discard, conn)
	if why := reasons(d.ended(1)); why[0] != "handshake" {
		t.Errorf("SSLv3: got reason %s, want handshake", why)
	}
}

// TestBadCertificatesAreRefused, for a reason that the records tell.
func TestBadCertificatesAreRefused(t *testing.T) {
	other := tlstest.NewAuthority(t)
	changed := func(change func(*x509.Certificate)) func(*tlstest.Authority) tls.Certificate {
		return func(a *tlstest.Authority) tls.Certificate { return a.Issue(pkix.Name{CommonName: "dev-7"}, change) }
	}
	for name, issue := range map[string]func(a *tlstest.Authority) tls.Certificate{
		"expired":       changed(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
		"not yet valid": changed(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }),
		"of a server only": changed(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}),
		"of another authority": func(*tlstest.Authority) tls.Certificate { return other.Client("dev-7") },
		"of nobody":            func(*tlstest.Authority) tls.Certificate { return tls.Certificate{} },
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+", "+tls.VersionName(version), func(t *testing.T) {
				d := secured(t, secureSettings{tls: "min_version = \"1.2\"\nclient_ca = \"CA\"\nclient_auth = \"require\""})
				d.refuses(version, issue(d.authority))
			})
		}
	}
}

// refuses reports an error unless a client with this certificate is refused for it.
func (d *secureDaemon) refuses(version uint16, c tls.Certificate) {
	d.t.Helper()
	before := len(reasons(d.entries()))
	config := d.client()
	config.MaxVersion = version
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }
	client := tls.Client(dial(d.t, d.address), config)
	if n, err := client.Read(make([]byte, 1)); err == nil {
		d.t.Errorf("got %d bytes, want it refused", n)
	}
	if why := reasons(d.ended(before + 1))[before]; why != "certificate" {
		d.t.Errorf("got reason %s, want certificate; log: %s", why, d.log())
	}
}

// TestARevokedCertificateIsRefused.
func TestARevokedCertificateIsRefused(t *testing.T) {
	crl := write(t, "crl.pem", "")
	d := secured(t, secureSettings{tls: "client_ca = \"CA\"\nclient_auth = \"require\""})
	good, revoked := d.authority.Client("dev-7"), d.authority.Client("dev-8")
	d.authority.Revoke(crl, revoked)
	text, err := os.ReadFile(d.config)
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(string(text), "[tls]\n", fmt.Sprintf("[tls]\ncrl = %q\n", crl), 1)
	if err := os.WriteFile(d.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	d.reloads()
	trusted := d.client()
	trusted.Certificates = []tls.Certificate{good}
	d.serves(trusted)
	d.refuses(tls.VersionTLS13, revoked)
}

// reloads has the daemon read its configuration and certificates anew.
func (d *secureDaemon) reloads() {
	d.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		d.t.Fatal(err)
	}
	d.hear("msg=\"configuration reloaded\"")
}

// TestProtocolsAreNotSpokenOf: ALPN is not answered, and nobody minds.
func TestProtocolsAreNotSpokenOf(t *testing.T) {
	d := secured(t, secureSettings{})
	config := d.client()
	config.NextProtos = []string{"h2", "http/1.1", strings.Repeat("x", 255)}
	if got := d.serves(config).ConnectionState().NegotiatedProtocol; got != "" {
		t.Errorf("got %q, want none", got)
	}
}

// TestNamesOfClientsAreEscapedEverywhere: a client says what it likes in its server name and in the
// subject of its certificate.
func TestNamesOfClientsAreEscapedEverywhere(t *testing.T) {
	d := secured(t, secureSettings{tls: "client_ca = \"CA\"\nclient_auth = \"require\""})
	config := d.client()
	config.Certificates = []tls.Certificate{d.authority.Issue(pkix.Name{
		CommonName: "evil\n\x1b[2J\"}\r<script>", Organization: []string{strings.Repeat("long", 4000)},
	}, nil)}
	config.ServerName, config.InsecureSkipVerify = "a\"\x1b[2J\n<b>"+strings.Repeat("x", 200), true
	d.serves(config)
	config.ServerName = strings.Repeat("x", 60_000) // refused, or served
	_ = tls.Client(dial(t, d.address), config).Handshake()
	_, sessions, _ := clitest.Outcome(t, tcpmux(t, "sessions", "--control", d.control))
	_, asJSON, _ := clitest.Outcome(t, tcpmux(t, "sessions", "--json", "--control", d.control))
	_, status, _ := clitest.Outcome(t, tcpmux(t, "status", "--control", d.control))
	metrics := scraped(t, d.control)
	records, err := os.ReadFile(d.records)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(asJSON, "evil") {
		t.Errorf("sessions: got %.2000s, want the subject", asJSON)
	}
	for name, text := range map[string]string{
		"sessions": sessions, "sessions in json": asJSON, "status": status, "metrics": metrics, "records": string(records), "log": d.log(),
	} {
		if strings.ContainsAny(text, "\x1b\r") || strings.Contains(text, "evil\n") {
			t.Errorf("%s: got %.2000q, want no control bytes of the client's", name, text)
		}
		for line := range strings.Lines(text) {
			if strings.Contains(line, "long") && len(line) > 20_000 {
				t.Errorf("%s: got a line of %d bytes, want a bounded subject", name, len(line))
			}
		}
	}
}

// TestHalfHandshakesDoNotKeepOthersOut: thousands of them, and a client that speaks TLS gets in.
func TestHalfHandshakesDoNotKeepOthersOut(t *testing.T) {
	d := secured(t, secureSettings{top: "limits.clients_per_source = 5000"})
	const half = 2000
	var clients sync.WaitGroup
	for i := range 20 {
		clients.Go(func() {
			for j := range half / 20 {
				conn := dial(t, d.address)
				if (i+j)%2 == 0 {
					_, _ = io.WriteString(conn, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
				}
			}
		})
	}
	clients.Wait()
	for range 10 {
		d.serves(d.client())
	}
}

// TestAClientThatStopsReadingIsWaitedFor: its acknowledgments wait, so it is not read either, and
// then all is there.
func TestAClientThatStopsReadingIsWaitedFor(t *testing.T) {
	each(t, secureSettings{tls: `min_version = "1.2"`}, func(t *testing.T, d *secureDaemon) {
		client := d.dialTLS(d.client())
		const lines = 200_000
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(client, strings.Repeat("x\n", lines))
			sent <- err
		}()
		d.serves(d.client())
		var want bytes.Buffer
		for i := range lines {
			fmt.Fprintln(&want, 2*i)
		}
		hearTLS(t, client, want.String())
		if err := errors.Join(<-sent, client.Close()); err != nil {
			t.Error(err)
		}
	})
}

// TestFloodsOfRecordsWithoutProgressEnd, and cost nobody else anything.
func TestFloodsOfRecordsWithoutProgressEnd(t *testing.T) {
	d := secured(t, secureSettings{tls: `survive = "off"`})
	for i, c := range []struct {
		kind byte
		body string
	}{{tlstest.Data, ""}, {tlstest.Handshake, tlstest.KeyUpdate}, {tlstest.Handshake, tlstest.KeyUpdateRequested}} {
		r := tlstest.NewRaw(t, dial(t, d.address), d.client())
		for r.Send(c.kind, c.body) == nil {
			if c.kind == tlstest.Handshake {
				r.Renew()
			}
		}
		if why := reasons(d.ended(i + 1))[i]; why == "eof" || why == "truncated" {
			t.Errorf("%q: got reason %s, want an error", c.body, why)
		}
	}
	d.serves(d.client())
	if got := said(d.entries()); len(got) != 1 {
		t.Errorf("got %q, want one line", got)
	}
}

// TestCertificatesAreSwappedWhole: while clients come all the time, no handshake fails. Those that
// are there stay, and those that come get the new one.
func TestCertificatesAreSwappedWhole(t *testing.T) {
	d := secured(t, secureSettings{})
	old := d.serves(d.client())
	stop := make(chan struct{})
	var coming sync.WaitGroup
	for range 4 {
		coming.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				client := tls.Client(dial(t, d.address), d.client())
				if err := client.Handshake(); err != nil {
					t.Errorf("a handshake failed: %v", err)
					return
				}
				_ = client.Close()
			}
		})
	}
	for i := range 10 {
		name := fmt.Sprintf("swap-%d", i)
		cert, key, _ := d.authority.Write(d.authority.Issue(pkix.Name{CommonName: name}, nil))
		if err := errors.Join(os.Rename(key, d.key), os.Rename(cert, d.cert)); err != nil {
			t.Fatal(err)
		}
		await.Until(t, func() bool {
			_ = d.cmd.Process.Signal(syscall.SIGHUP)
			client := tls.Client(dial(t, d.address), d.client())
			defer client.Close()
			return client.Handshake() == nil && client.ConnectionState().PeerCertificates[0].Subject.CommonName == name
		}, func() { t.Errorf("certificate %s is not shown; log: %s", name, tail(d.log())) })
	}
	close(stop)
	coming.Wait()
	if _, err := io.WriteString(old, "still\n"); err != nil {
		t.Error(err)
	}
	hearTLS(t, old, "5\n")
}
