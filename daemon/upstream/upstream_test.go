package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/tlsconn/tlstest"
)

// patience bounds what must come.
const patience = 5 * time.Minute

// listen returns a listening socket, which is closed with the test, and its port.
func listen(t *testing.T) (net.Listener, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return ln, port
}

// dialer returns one whose names lead to these addresses.
func dialer(c config.Proxy, names map[string][]string) *Dialer {
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = patience
	}
	d := NewDialer(c, time.Minute)
	d.lookup = func(_ context.Context, _, host string) (ips []netip.Addr, err error) {
		list, ok := names[host]
		if !ok {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		for _, text := range list {
			ips = append(ips, netip.MustParseAddr(text))
		}
		return ips, nil
	}
	return d
}

// TestAddressesOfANameAreTried in their order.
func TestAddressesOfANameAreTried(t *testing.T) {
	_, port := listen(t)
	d := dialer(config.Proxy{To: []string{"nobody:" + port, "app:" + port}}, map[string][]string{"app": {"127.0.0.9", "127.0.0.1"}})
	c, err := d.Dial(t.Context(), Ends{})
	if err != nil || c.Address != "127.0.0.1:"+port {
		t.Fatalf("got %q, %v, want 127.0.0.1", c.Address, err)
	}
	c.Close()
}

// TestTheErrorHasAllThatWasTried, and the kind of the last.
func TestTheErrorHasAllThatWasTried(t *testing.T) {
	ln, port := listen(t)
	_ = ln.Close()
	d := dialer(config.Proxy{To: []string{"nobody:" + port, "unix:/no/such/socket", "app:" + port}}, map[string][]string{"app": {"127.0.0.1"}})
	_, err := d.Dial(t.Context(), Ends{})
	failed, ok := errors.AsType[*Error](err)
	if !ok || failed.Kind != Refused || failed.To != "127.0.0.1:"+port {
		t.Fatalf("got %+v, %v", failed, err)
	}
	for _, want := range []string{`look up "nobody": no such host; `, "unix:/no/such/socket: connect: no such file", "127.0.0.1:" + port + ": connect: connection refused"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q in it", err, want)
		}
	}
}

// TestItIsGivenUp while it waits.
func TestItIsGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := dialer(config.Proxy{To: []string{"app:1"}}, nil)
	d.lookup = func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if _, err := d.Dial(ctx, Ends{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestAddressesShareTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for attempts, want := range map[int]time.Duration{0: 30 * time.Second, 1: 30 * time.Second, 3: 10 * time.Second, 100: minShare} {
			if got := time.Until(share(ctx, attempts)); got != want {
				t.Errorf("%d attempts: got %v, want %v", attempts, got, want)
			}
		}
		time.Sleep(29 * time.Second)
		if got := time.Until(share(ctx, 2)); got != time.Second {
			t.Errorf("at the end: got %v, want 1s", got)
		}
	})
}

// TestTheEndOfTheTimeIsATimeout also in a handshake, whose own deadline is the same moment.
func TestTheEndOfTheTimeIsATimeout(t *testing.T) {
	ln, port := listen(t)
	d := dialer(config.Proxy{TLS: true}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	a := &attempt{target: target{host: "127.0.0.1"}, addr: netip.MustParseAddrPort("127.0.0.1:" + port)}
	_, err := d.try(ctx, a, time.Now().Add(patience), Ends{})
	if got := explain(a.String(), err); got.Kind != Timeout || got.Error() != ln.Addr().String()+": no answer in time" {
		t.Errorf("got %v (%v), want a timeout", got, got.Kind)
	}
}

// TestTheReasonIsOneLine: a record has it.
func TestTheReasonIsOneLine(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fds[1]) // so that a write fails
	p, err := conn.NewPoll(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	d := dialer(config.Proxy{Header: "v1"}, nil)
	_, err = d.prepare(t.Context(), p, &attempt{}, time.Now().Add(patience), Ends{})
	if got := explain("there", err); got.Kind != Reset || strings.Contains(got.Error(), "\n") || strings.Contains(got.Error(), "unavailable") {
		t.Errorf("got %q (%v), want one line about the reset alone", got, got.Kind)
	}
}

// TestANameWithoutAddresses is no upstream, whatever the resolver says.
func TestANameWithoutAddresses(t *testing.T) {
	d := dialer(config.Proxy{To: []string{"app:1"}}, map[string][]string{"app": nil})
	_, err := d.Dial(t.Context(), Ends{})
	if failed, ok := errors.AsType[*Error](err); !ok || failed.Kind != Name || failed.Error() != `look up "app": it has no address` {
		t.Errorf("got %v, want that there is no address", err)
	}
}

func TestTheClientsOwnAddressIsALoop(t *testing.T) {
	_, port := listen(t)
	d := dialer(config.Proxy{To: []string{"app:" + port}}, map[string][]string{"app": {"::ffff:127.0.0.1"}})
	_, err := d.Dial(t.Context(), Ends{Server: netip.MustParseAddrPort("127.0.0.1:" + port)})
	if failed, ok := errors.AsType[*Error](err); !ok || failed.Kind != Loop {
		t.Errorf("got %v, want a loop", err)
	}
}

// TestTLS: whom the daemon speaks with, and whom it does not.
func TestTLS(t *testing.T) {
	good, other := tlstest.NewAuthority(t), tlstest.NewAuthority(t)
	_, _, ca := good.Write(good.Server())
	_, _, otherCA := other.Write(other.Server())
	cert, key, _ := good.Write(good.Client("proxy"))
	plain := config.Proxy{TLS: true, CA: ca, ServerName: "localhost"}
	for _, c := range []struct {
		name   string
		change func(*config.Proxy)
		server *tls.Config // nil: clear text
		want   string      // of the error; "": none
	}{
		{"good", func(*config.Proxy) {}, &tls.Config{}, ""},
		{"by its address", func(c *config.Proxy) { c.ServerName = "" }, &tls.Config{}, ""},
		{"TLS 1.2", func(*config.Proxy) {}, &tls.Config{MaxVersion: tls.VersionTLS12}, ""},
		{"another authority", func(c *config.Proxy) { c.CA = otherCA }, &tls.Config{}, "signed by unknown authority"},
		{"another name", func(c *config.Proxy) { c.ServerName = "db.example" }, &tls.Config{}, "not db.example"},
		{"a client certificate", func(c *config.Proxy) { c.Certificate, c.Key = cert, key }, &tls.Config{ClientAuth: tls.RequireAnyClientCert}, ""},
		{"TLS 1.1", func(*config.Proxy) {}, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "protocol version"},
		{"clear text", func(*config.Proxy) {}, nil, "first record does not look like a TLS handshake"},
		{"no file", func(c *config.Proxy) { c.CA = "/no/such/ca.pem" }, &tls.Config{}, `file "/no/such/ca.pem" cannot be read`},
		{"no credential", func(c *config.Proxy) { c.Key = "proxy.key" }, &tls.Config{}, "$CREDENTIALS_DIRECTORY is not set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ln, port := listen(t)
			p := plain
			c.change(&p)
			p.To = []string{"127.0.0.1:" + port}
			go serve(ln, c.server, good.Server())
			conn, err := dialer(p, nil).Dial(t.Context(), Ends{})
			if c.want != "" {
				if failed, ok := errors.AsType[*Error](err); !ok || failed.Kind != TLS || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q of the kind %s", err, c.want, TLS)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.Write([]byte("question")); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 100)
			n := 0
			conn.SetReadDeadline(time.Now().Add(patience))
			if err := conn.Wait(func() bool {
				n, err = conn.Take(got)
				return err != unix.EAGAIN
			}); err != nil || string(got[:max(n, 0)]) != "question" {
				t.Errorf("got %q, %v", got[:max(n, 0)], err)
			}
		})
	}
}

// serve sends back what comes first, or text that is no TLS.
func serve(ln net.Listener, c *tls.Config, own tls.Certificate) {
	conn, err := ln.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	if c == nil {
		_, _ = conn.Write([]byte("220 this is no TLS\r\n"))
		_, _ = conn.Read(make([]byte, 1000))
		return
	}
	c = c.Clone()
	c.Certificates = []tls.Certificate{own}
	s := tls.Server(conn, c)
	buf := make([]byte, 100)
	n, _ := s.Read(buf)
	_, _ = s.Write(buf[:n])
	_, _ = s.Read(buf)
}
