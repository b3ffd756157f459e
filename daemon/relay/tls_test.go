package relay_test

import (
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/tlsconn"
	"tcpmux/daemon/tlsconn/tlstest"
)

// TestTLSOnBothSides carries what is much, both ways at once, and the ends.
func TestTLSOnBothSides(t *testing.T) {
	for _, recorded := range []bool{false, true} {
		a := tlstest.NewAuthority(t)
		own := []tls.Certificate{a.Server()}
		_, _, ca := a.Write(own[0])
		ln, to := listen(t, "tcp")
		f := servertest.New(t, func(c *config.Config) {
			l := &c.Listeners[0]
			l.Service, l.Record, l.Model, l.Banner, l.Framing = config.ServiceProxy, recorded, "goroutine", config.Bytes{}, "chunk"
			l.Proxy = config.Proxy{To: []string{to}, ConnectTimeout: servertest.Patience, TLS: true, CA: ca, ServerName: "localhost"}
		}, func(o *server.Options) {
			o.TLS = func(config.Listener) *tlsconn.Options {
				return &tlsconn.Options{
					Config: func() *tls.Config { return &tls.Config{Certificates: own} }, Timeout: servertest.Patience,
				}
			}
		}).Open()
		question, answer := strings.Repeat("question", 40_000), strings.Repeat("answer", 60_000)
		c := tls.Client(f.Client(), &tls.Config{RootCAs: a.Pool(), ServerName: "localhost"})
		ended := make(chan error, 1)
		go func() {
			up := tls.Server(accept(t, ln), &tls.Config{Certificates: own})
			go func() { _, _ = io.WriteString(up, answer); _ = up.CloseWrite() }()
			got, err := io.ReadAll(up)
			if string(got) != question && err == nil {
				err = errors.New("it has not got the question")
			}
			ended <- err
		}()
		go func() { _, _ = io.WriteString(c, question); _ = c.CloseWrite() }()
		if got, err := io.ReadAll(c); err != nil || string(got) != answer {
			t.Errorf("got %d bytes, %v, want %d", len(got), err, len(answer))
		}
		if err := servertest.Result(t, ended); err != nil {
			t.Error(err)
		}
		f.AwaitRecords(": eof, ")
	}
}

// TestATruncatedAnswerIsAReset for the client: it is not the end of what the upstream had to say.
func TestATruncatedAnswerIsAReset(t *testing.T) {
	a := tlstest.NewAuthority(t)
	_, _, ca := a.Write(a.Server())
	ln, to := listen(t, "tcp")
	f := proxy(t, []string{to}, func(l *config.Listener) { l.Proxy.TLS, l.Proxy.CA, l.Proxy.ServerName = true, ca, "localhost" })
	c := f.Client()
	raw := accept(t, ln)
	up := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{a.Server()}})
	servertest.Say(t, up, "half an ans")
	c.Hear("half an ans")
	_ = raw.CloseWrite() // without close_notify
	if got, err := io.ReadAll(c); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("got %q, %v, want a reset", got, err)
	}
	f.AwaitRecords(": upstream-reset, ")
}

// TestABadCertificateIsNoUpstream.
func TestABadCertificateIsNoUpstream(t *testing.T) {
	a, other := tlstest.NewAuthority(t), tlstest.NewAuthority(t)
	_, _, ca := other.Write(other.Server())
	ln, to := listen(t, "tcp")
	f := proxy(t, []string{to}, func(l *config.Listener) { l.Proxy.TLS, l.Proxy.CA, l.Proxy.ServerName = true, ca, "localhost" })
	own := []tls.Certificate{a.Server()}
	go func() {
		raw, err := ln.Accept()
		if err != nil {
			return
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(servertest.Patience))
		_ = tls.Server(raw, &tls.Config{Certificates: own}).Handshake()
	}()
	if got := f.Client().HearEnd(); got != "" {
		t.Errorf("got %q", got)
	}
	f.AwaitRecords(": upstream-tls, ")
	f.Log.Await(t, "unknown authority", "upstream="+to)
}
