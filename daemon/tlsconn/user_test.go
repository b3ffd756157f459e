package tlsconn_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/tlsconn"
	"tcpmux/daemon/tlsconn/tlstest"
)

// patience bounds what must come.
const patience = 5 * time.Minute

// peer is a server's end, and the client's, of which neither has begun.
type peer struct {
	*tlsconn.Conn
	t         *testing.T
	authority *tlstest.Authority
	options   tlsconn.Options
	config    *tls.Config
	client    *net.TCPConn
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	client, fd := tlstest.Pair(t)
	below, err := conn.NewPoll(fd)
	if err != nil {
		t.Fatal(err)
	}
	a := tlstest.NewAuthority(t)
	p := &peer{t: t, Conn: tlsconn.New(below), authority: a, client: client}
	p.config = &tls.Config{Certificates: []tls.Certificate{a.Server()}, ClientCAs: a.Pool()}
	p.options = tlsconn.Options{Config: func() *tls.Config { return p.config }, Kernel: tlsconn.Never, Timeout: patience}
	t.Cleanup(p.Close)
	return p
}

// handshake makes the handshake with a client that has this configuration, and returns the client.
func (p *peer) handshake(c *tls.Config) (*tls.Conn, tlsconn.Info, error) {
	p.t.Helper()
	c.RootCAs, c.ServerName = p.authority.Pool(), "localhost"
	client := tls.Client(p.client, c)
	_ = client.SetDeadline(time.Now().Add(patience))
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	info, err := p.Handshake(&p.options, never, nobody)
	if err != nil {
		p.Conn.Close()
	}
	if cerr := <-done; cerr != nil && err == nil && c.MinVersion == 0 {
		p.t.Errorf("the client's handshake: got %v", cerr)
	}
	return client, info, err
}

func never(bool) (time.Time, error) { return time.Time{}, nil }
func nobody() tlsconn.Memory        { return nil }

// read reads until n bytes were taken, or the end, with peeks and discards of random sizes.
func (p *peer) read(n int) (got []byte, err error) {
	for len(got) < n {
		buf := make([]byte, 1+rand.N(40000))
		var seen int
		p.SetReadDeadline(time.Now().Add(patience))
		if werr := p.Wait(func() bool {
			seen, err = p.Peek(buf)
			return err != unix.EAGAIN
		}); werr != nil {
			return got, werr
		}
		if seen <= 0 || err != nil {
			return got, errors.Join(err, io.EOF)
		}
		if p.Unread() < seen {
			p.t.Errorf("unread: got %d, want at least %d", p.Unread(), seen)
		}
		if rand.N(2) == 0 {
			seen = 1 + rand.N(seen)
		}
		if rand.N(2) == 0 {
			if err := p.Discard(seen); err != nil {
				return got, err
			}
		} else if took, err := p.Take(buf[:seen]); err != nil || took != seen {
			p.t.Errorf("take: got %d and %v, want %d", took, err, seen)
		}
		got = append(got, buf[:seen]...)
	}
	return got, nil
}

// TestEveryByteArrivesBothWays, in both versions of TLS, however it is cut.
func TestEveryByteArrivesBothWays(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			p := newPeer(t)
			client, info, err := p.handshake(&tls.Config{MaxVersion: version})
			if err != nil || info.Version != tlsconn.VersionName(version) || info.ServerName != "localhost" || info.Kernel || info.Reason == "" {
				t.Fatalf("got %+v and %v, want version %s of localhost in user space", info, err, tlsconn.VersionName(version))
			}
			text := bytes.Repeat([]byte("0123456789abcdef\n"), 60_000)
			sent := make(chan error, 1)
			go func() {
				var err error
				for at := 0; at < len(text) && err == nil; {
					n := min(1+rand.N(50_000), len(text)-at)
					_, err = client.Write(text[at : at+n])
					at += n
				}
				sent <- errors.Join(err, client.CloseWrite())
			}()
			echoed := make(chan []byte, 1)
			go func() {
				all, _ := io.ReadAll(client)
				echoed <- all
			}()
			got, err := p.read(len(text))
			if err != nil || !bytes.Equal(got, text) {
				t.Fatalf("got %d bytes and %v, want the %d that were sent", len(got), err, len(text))
			}
			if rest, err := p.read(1); len(rest) > 0 || !errors.Is(err, io.EOF) || errors.Is(err, tlsconn.ErrTruncated) {
				t.Errorf("at the end: got %q and %v, want the end of the stream", rest, err)
			}
			n, err := p.TryWrite(text)
			if err == nil && n < len(text) {
				p.SetWriteDeadline(time.Now().Add(patience))
				err = p.Write(text[n:])
			}
			if err != nil {
				t.Error(err)
			}
			p.CloseWrite()
			if back := <-echoed; !bytes.Equal(back, text) {
				t.Errorf("the client got %d bytes, want %d", len(back), len(text))
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAnEndWithoutCloseNotifyIsTold: what was sent last may be missing.
func TestAnEndWithoutCloseNotifyIsTold(t *testing.T) {
	p := newPeer(t)
	client, _, err := p.handshake(&tls.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	_ = p.client.CloseWrite()
	if got, err := p.read(4); string(got) != "half" || err != nil {
		t.Errorf("got %q and %v, want what was sent", got, err)
	}
	if _, err := p.read(1); !errors.Is(err, tlsconn.ErrTruncated) {
		t.Errorf("got %v, want %v", err, tlsconn.ErrTruncated)
	}
}

// TestWhyAHandshakeFails is told by the error.
func TestWhyAHandshakeFails(t *testing.T) {
	for _, c := range []struct {
		name string
		say  string
		end  bool
		want error
	}{
		{"plain text", "hello there\n", false, tlsconn.ErrPlainText},
		{"a few bytes of plain text, and the end", "hi", true, tlsconn.ErrPlainText},
		{"plain HTTP", "GET / HTTP/1.0\r\n\r\n", false, tlsconn.ErrPlainText},
		{"nothing, and the end", "", true, io.EOF},
		{"half a hello, and the end", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", true, io.ErrUnexpectedEOF},
		{"garbage in a record", "\x16\x03\x01\x00\x05abcde", false, nil},
		{"a record that is too long", "\x16\x03\x01\xff\xff" + strings.Repeat("x", 1<<16), false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t)
			if _, err := io.WriteString(p.client, c.say); err != nil {
				t.Fatal(err)
			}
			if c.end {
				_ = p.client.CloseWrite()
			}
			_, err := p.Handshake(&p.options, never, nobody)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestAClientsCertificateIsAskedFor, and told by its subject.
func TestAClientsCertificateIsAskedFor(t *testing.T) {
	for _, c := range []struct {
		name    string
		auth    tls.ClientAuthType
		shows   func(a *tlstest.Authority) []tls.Certificate
		subject string
		refused bool
	}{
		{"none is wanted", tls.NoClientCert, nil, "", false},
		{"none is shown", tls.VerifyClientCertIfGiven, nil, "", false},
		{"one is missing", tls.RequireAndVerifyClientCert, nil, "", true},
		{"a good one", tls.RequireAndVerifyClientCert, func(a *tlstest.Authority) []tls.Certificate { return []tls.Certificate{a.Client("dev-7")} }, "CN=dev-7", false},
		{"one that is not admitted", tls.RequireAndVerifyClientCert, func(a *tlstest.Authority) []tls.Certificate { return []tls.Certificate{a.Client("evil")} }, "", true},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(c.name+", "+tls.VersionName(version), func(t *testing.T) {
				p := newPeer(t)
				p.config.ClientAuth = c.auth
				p.options.Admit = func(subject string) bool { return subject != "CN=evil" }
				config := &tls.Config{MaxVersion: version}
				if c.shows != nil {
					config.Certificates = c.shows(p.authority)
				}
				if c.refused {
					config.MinVersion = version // the client may fail too
				}
				_, info, err := p.handshake(config)
				switch {
				case c.refused && !errors.Is(err, tlsconn.ErrCertificate):
					t.Errorf("got %v, want %v", err, tlsconn.ErrCertificate)
				case !c.refused && (err != nil || info.Subject != c.subject):
					t.Errorf("got subject %q and %v, want %q", info.Subject, err, c.subject)
				}
			})
		}
	}
}

// TestAStrangersCertificateIsRefused: one that another authority has issued.
func TestAStrangersCertificateIsRefused(t *testing.T) {
	p := newPeer(t)
	p.config.ClientAuth = tls.RequireAndVerifyClientCert
	stranger := tlstest.NewAuthority(t).Client("dev-7")
	show := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }
	if _, _, err := p.handshake(&tls.Config{GetClientCertificate: show, MinVersion: tls.VersionTLS12}); !errors.Is(err, tlsconn.ErrCertificate) {
		t.Errorf("got %v, want %v", err, tlsconn.ErrCertificate)
	}
}

// TestAHandshakeHasAnEnd: its time, or a word that comes meanwhile.
func TestAHandshakeHasAnEnd(t *testing.T) {
	p := newPeer(t)
	p.options.Timeout = time.Millisecond
	if _, err := p.Handshake(&p.options, never, nobody); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want it to take too long", err)
	}
	p = newPeer(t)
	errWoken := errors.New("woken")
	p.Wake()
	if _, err := p.Handshake(&p.options, func(begun bool) (time.Time, error) { return time.Time{}, errWoken }, nobody); err != errWoken {
		t.Errorf("got %v, want %v", err, errWoken)
	}
}

// TestTheKernelMayBeRequired: where it cannot, the client is refused.
func TestTheKernelMayBeRequired(t *testing.T) {
	p := newPeer(t)
	p.options.Kernel = tlsconn.Require
	_, info, err := p.handshake(&tls.Config{MaxVersion: tls.VersionTLS12, MinVersion: tls.VersionTLS12})
	if !errors.Is(err, tlsconn.ErrKernel) {
		t.Errorf("with TLS 1.2: got %+v and %v, want %v", info, err, tlsconn.ErrKernel)
	}
}
