package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/internal/await"
)

// models are what serves a client. In the last one the daemon encrypts for another process.
var models = []string{"goroutine", "thread", "process"}

// each runs a test with a daemon of each model.
func each(t *testing.T, c secureSettings, run func(t *testing.T, d *secureDaemon)) {
	t.Helper()
	for _, model := range models {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			c := c
			c.top = fmt.Sprintf("model = %q\n%s", model, c.top)
			run(t, secured(t, c))
		})
	}
}

// talks says a line through a program and hears its acknowledgment.
func (d *dialogue) talks() {
	d.t.Helper()
	d.hear("hello\n")
	d.ask("line\n", "0\n") // openssl has said times and numbers before
}

// sClient starts openssl s_client.
func (d *secureDaemon) sClient(args ...string) *debianTool {
	d.t.Helper()
	return tool(d.t, "openssl", "openssl", append([]string{"s_client", "-connect", d.address, "-CAfile", d.ca,
		"-verify_return_error", "-servername", "localhost"}, args...)...)
}

func TestOpenSSLTalksToTheDaemon(t *testing.T) {
	each(t, secureSettings{tls: `min_version = "1.2"`}, func(t *testing.T, d *secureDaemon) {
		for i, version := range []string{"1.2", "1.3"} {
			client := d.sClient("-quiet", "-no_ign_eof", "-tls"+strings.Replace(version, ".", "_", 1))
			client.talks()
			_ = client.in.Close()
			if status := client.ends(); status != 0 {
				t.Errorf("%s: got status %d, want 0", version, status)
			}
			all := d.ended(i + 1)
			if first := all[2*i+i]; first.TLS == nil || first.TLS.Version != version || first.TLS.SNI != "localhost" {
				t.Errorf("got %+v of %+v, want version %s of localhost", first.TLS, all, version)
			}
		}
	})
}

// TestOpenSSLShowsACertificate, and renews its keys (the letters K and k at a line's beginning).
func TestOpenSSLShowsACertificate(t *testing.T) {
	each(t, secureSettings{tls: "client_ca = \"CA\"\nclient_auth = \"require\"\nsurvive = \"off\""}, func(t *testing.T, d *secureDaemon) {
		cert, key, _ := d.authority.Write(d.authority.Client("dev-7"))
		client := d.sClient("-cert", cert, "-key", key, "-tls1_3")
		client.talks()
		for i, command := range []string{"K\n", "k\n"} { // with an answer, and without
			client.say(command)
			client.complains(strings.Repeat("KEYUPDATE\n", i+1))
		}
		client.ask("more\n", "5\n")
		client.say("Q\n")
		client.ends()
		all := d.ended(1)
		d.compare(all, "eof", "line", "more")
		if all[0].TLS == nil || all[0].TLS.Subject != "CN=dev-7" {
			t.Errorf("got %+v, want subject CN=dev-7", all[0].TLS)
		}
	})
}

// TestOpenSSLIsKilled: without its close_notify the end is told apart.
func TestOpenSSLIsKilled(t *testing.T) {
	each(t, secureSettings{}, func(t *testing.T, d *secureDaemon) {
		client := d.sClient("-quiet")
		client.talks()
		_ = client.cmd.Process.Kill()
		d.compare(d.ended(1), "truncated", "line")
	})
}

// TestOpenSSLMayNotRenegotiate (the letter R), in TLS 1.2.
func TestOpenSSLMayNotRenegotiate(t *testing.T) {
	d := secured(t, secureSettings{tls: `min_version = "1.2"`})
	client := d.sClient("-tls1_2", "-legacy_renegotiation")
	client.talks()
	client.say("R\n")
	all := d.ended(1)
	if why := reasons(all); why[0] == "eof" || len(said(all)) != 1 {
		t.Errorf("got %+v, want an error after the line", all)
	}
	d.serves(d.client())
}

// TestOpenSSLIsGivenNoTicket, so there is nothing to resume with and no early data to send.
func TestOpenSSLIsGivenNoTicket(t *testing.T) {
	d := secured(t, secureSettings{tls: `min_version = "1.2"`})
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		client := d.sClient(version)
		client.talks()
		client.say("Q\n")
		client.ends()
		if strings.Contains(client.seen, "TLS session ticket:") || strings.Contains(client.seen, "New Session Ticket arrived") {
			t.Errorf("%s: got a ticket: %s", version, client.seen)
		}
	}
	client := d.sClient("-tls1_3", "-reconnect")
	client.hear("hello\n")
	if strings.Contains(client.seen, "Reused, TLS") {
		t.Errorf("a session was resumed: %s", client.seen)
	}
}

// TestCurlReadsTheBanner, as it would that of an HTTP/0.9 server.
func TestCurlReadsTheBanner(t *testing.T) {
	each(t, secureSettings{tls: "client_ca = \"CA\"\nclient_auth = \"require\""}, func(t *testing.T, d *secureDaemon) {
		cert, key, _ := d.authority.Write(d.authority.Client("dev-7"))
		client := tool(t, "curl", "curl", "--silent", "--show-error", "--http0.9", "--http1.1", "--no-buffer", "--cacert", d.ca,
			"--cert", cert, "--key", key, "https://"+d.address+"/path")
		client.hear("hello\n0\n")
		_ = client.cmd.Process.Kill()
		all := d.ended(1)
		if got := said(all); len(got) == 0 || got[0] != "GET /path HTTP/1.1" {
			t.Errorf("got %q, want the request", got)
		}
	})
}

func TestGnuTLSTalksToTheDaemon(t *testing.T) {
	each(t, secureSettings{}, func(t *testing.T, d *secureDaemon) {
		_, port, _ := net.SplitHostPort(d.address)
		client := tool(t, "gnutls-bin", "gnutls-cli", "--x509cafile="+d.ca, "--port="+port, "localhost")
		client.talks()
		_ = client.in.Close()
		if status := client.ends(); status != 0 {
			t.Errorf("got status %d, want 0: %s", status, client.seen)
		}
		d.compare(d.ended(1), "eof", "line")
	})
}

func TestSocatTalksToTheDaemon(t *testing.T) {
	each(t, secureSettings{}, func(t *testing.T, d *secureDaemon) {
		client := tool(t, "socat", "socat", "-", "OPENSSL:"+d.address+",cafile="+d.ca+",commonname=localhost")
		client.talks()
		_ = client.in.Close()
		if status := client.ends(); status != 0 {
			t.Errorf("got status %d, want 0", status)
		}
		d.compare(d.ended(1), "eof", "line")
	})
}

// pythonClient says a line, hears what comes, and ends with and without close_notify.
const pythonClient = `
import socket, ssl, sys
port, ca, end = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
s = context.wrap_socket(socket.create_connection(("127.0.0.1", int(port))), server_hostname="localhost")
f = s.makefile("rb")
assert f.readline() == b"hello\n"
s.sendall(b"line\n")
assert f.readline() == b"0\n"
if end == "unwrap":
    s.unwrap()
else:
    s.sendall(b"half")
print("done")
`

func TestPythonTalksToTheDaemon(t *testing.T) {
	each(t, secureSettings{}, func(t *testing.T, d *secureDaemon) {
		_, port, _ := net.SplitHostPort(d.address)
		for i, c := range []struct{ end, reason string }{{"unwrap", "eof"}, {"close", "truncated"}} {
			client := tool(t, "python3", "python3", "-c", pythonClient, port, d.ca, c.end)
			client.hear("done\n")
			client.ends()
			if why := reasons(d.ended(i + 1))[i]; why != c.reason {
				t.Errorf("%s: got reason %s, want %s", c.end, why, c.reason)
			}
		}
		if got := said(d.entries()); !slices.Equal(got, []string{"line", "line", "half"}) {
			t.Errorf("got %q, want two lines and a half", got)
		}
	})
}

func TestConnectSpeaksTLSToTheDaemon(t *testing.T) {
	each(t, secureSettings{tls: "client_ca = \"CA\"\nclient_auth = \"require\""}, func(t *testing.T, d *secureDaemon) {
		cert, key, _ := d.authority.Write(d.authority.Client("dev-7"))
		cmd := tcpmux(t, "connect", "--tls", "--ca", d.ca, "--cert", cert, "--key", key, d.address)
		client := converse(t, cmd, cmd.StdoutPipe)
		client.talks()
		_ = client.in.Close()
		if status := client.ends(); status != 0 {
			t.Errorf("got status %d, want 0", status)
		}
		d.compare(d.ended(1), "eof", "line")
	})
}

// TestHAProxyPassesTLSOn, with a PROXY header before it: the records name the client.
func TestHAProxyPassesTLSOn(t *testing.T) {
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Fatalf("%v: apt-get install haproxy", err)
	}
	for _, send := range []string{"send-proxy", "send-proxy-v2"} {
		t.Run(send, func(t *testing.T) {
			d := secured(t, secureSettings{top: "proxy_protocol = [\"127.0.0.1\"]\n"})
			front := clitest.Refused(t)
			config := write(t, "haproxy.cfg", fmt.Sprintf(`
defaults
	mode tcp
	timeout connect 20s
	timeout client 60s
	timeout server 60s
listen tls
	bind %s
	server tcpmux %s %s
`, front, d.address, send))
			tool(t, "haproxy", "haproxy", "-db", "-f", config)
			var conn net.Conn
			awaitDial(t, front, &conn)
			client := tls.Client(conn, d.client())
			hearTLS(t, client, "hello\n")
			if _, err := io.WriteString(client, "line\n"); err != nil {
				t.Fatal(err)
			}
			hearTLS(t, client, "0\n")
			_ = client.Close()
			all := d.ended(1)
			d.compare(all[len(all)-3:], "eof", "line")
			if got, want := all[len(all)-1].Remote, conn.LocalAddr().String(); got != want {
				t.Errorf("remote: got %s, want %s", got, want)
			}
		})
	}
}

// awaitDial connects once somebody listens.
func awaitDial(t *testing.T, address string, conn *net.Conn) {
	t.Helper()
	var err error
	await.Until(t, func() bool {
		*conn, err = net.DialTimeout("tcp", address, patience)
		return err == nil
	}, func() { t.Error(err) })
	t.Cleanup(func() { _ = (*conn).Close() })
	_ = (*conn).SetDeadline(soon())
}
