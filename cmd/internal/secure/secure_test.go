package secure

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpmux/daemon/tlsconn/tlstest"
)

// serve has a server with an authority's certificate echo what one client sends, and returns its
// address. In clear text it says hello.
func serve(t *testing.T, c *tls.Config) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if c == nil {
			_, _ = io.WriteString(conn, "hello there\n")
			return
		}
		_, _ = io.Copy(conn, tls.Server(conn, c))
	}()
	return ln.Addr().String()
}

// TestConnectTrustsWhomItIsTold, and says the next step where it cannot.
func TestConnectTrustsWhomItIsTold(t *testing.T) {
	a := tlstest.NewAuthority(t)
	_, _, ca := a.Write(a.Server())
	_, _, stranger := tlstest.NewAuthority(t).Write(a.Server())
	certificate, key, _ := a.Write(a.Client("dev-7"))
	both := filepath.Join(t.TempDir(), "both.pem")
	var text []byte
	for _, path := range []string{certificate, key} {
		part, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	if err := os.WriteFile(both, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		flags Flags
		clear bool   // the server speaks clear text
		want  string // in the error; "": it connects
	}{
		{"the authority", Flags{TLS: true, CA: ca}, false, ""},
		{"anybody", Flags{TLS: true, Insecure: true}, false, ""},
		{"another name in the certificate", Flags{TLS: true, CA: ca, Name: "localhost"}, false, ""},
		{"a name that it has not", Flags{TLS: true, CA: ca, Name: "other.example"}, false, "--server-name NAME"},
		{"with a certificate of our own", Flags{TLS: true, CA: ca, Certificate: certificate, Key: key}, false, ""},
		{"with both in one file", Flags{TLS: true, CA: ca, Certificate: both}, false, ""},
		{"a stranger", Flags{TLS: true, CA: stranger}, false, "--ca FILE"},
		{"clear text", Flags{TLS: true, CA: ca}, true, "leave out --tls"},
		{"clear text, as is wanted", Flags{}, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.flags.Check(); err != nil {
				t.Fatal(err)
			}
			config, err := c.flags.Config("127.0.0.1")
			if err != nil {
				t.Fatal(err)
			}
			server := &tls.Config{Certificates: []tls.Certificate{a.Server()}, ClientCAs: a.Pool(), ClientAuth: tls.VerifyClientCertIfGiven}
			if c.clear {
				server = nil
			}
			below, err := net.Dial("tcp", serve(t, server))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			conn, err := Connect(ctx, below.(*net.TCPConn), config)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if Below(conn) != below {
				t.Error("got another socket below")
			}
			if err := conn.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFlagsThatContradictEachOtherAreReported, and files that cannot be read.
func TestFlagsThatContradictEachOtherAreReported(t *testing.T) {
	for want, f := range map[string]Flags{
		"--ca without --tls":           {CA: "x"},
		"--insecure without --tls":     {Insecure: true},
		"--key without --cert":         {TLS: true, Key: "x"},
		"--insecure together with --c": {TLS: true, Insecure: true, CA: "x"},
	} {
		if err := f.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %s", f, err, want)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, f := range map[string]Flags{
		"no such file":          {TLS: true, CA: "/nonexistent"},
		"has no certificate":    {TLS: true, CA: empty},
		`--cert "/nonexistent"`: {TLS: true, Certificate: "/nonexistent"},
		`read --cert "` + empty: {TLS: true, Certificate: empty},
	} {
		if _, err := f.Config("localhost"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %s", f, err, want)
		}
	}
}
