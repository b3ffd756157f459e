//go:build e2e

package e2e

import (
	"errors"
	"io"
	"strings"
	"testing"
)

const (
	appSocket = "/run/app.sock"

	// proxyListener is in front of a server at a unix socket.
	proxyListener = `
[[listener]]
name = "app"
address = "127.0.0.1:12346"
proxy = "unix:` + appSocket + `"
`
	// netProxyListener is in front of two addresses, of which only the second has a server.
	netProxyListener = `
[[listener]]
name = "web"
address = "127.0.0.1:12347"
proxy = ["127.0.0.1:9001", "127.0.0.1:9002"]
`
)

// runs has a server run in the machine, and returns once it listens.
func (r *rig) runs(unit, listening string, args ...string) {
	r.t.Helper()
	r.run(append([]string{"systemd-run", "-q", "--unit", unit}, args...)...)
	r.await(unit, func() bool { return strings.Contains(r.run("ss", "-lxtnH"), listening) })
}

// A proxy has the network that it needs, and the service has none otherwise: a server at a unix
// socket needs nothing, and with one at an address no other address is reached.
func TestProxiesHaveTheNetworkTheyNeed(t *testing.T) {
	r := withServices(t, proxyListener)
	r.runs("app", appSocket, "socat", "UNIX-LISTEN:"+appSocket+",fork,mode=0666", "EXEC:rev")
	r.runs("web", ":9002", "socat", "TCP4-LISTEN:9002,fork", "EXEC:cat")
	tried := func(port string) string {
		out, err := r.piped("over there\n", "nc", "-N", "127.0.0.1", port)
		if err != nil {
			out += err.Error()
		}
		return out
	}
	if got := tried("12346"); got != "ereht revo\n" {
		t.Errorf("by a unix socket: got %q, want what the server answers", got)
	}
	r.isClosed()

	r.write(toml, r.read(toml)+netProxyListener)
	r.resocket()
	if got := tried("12347"); got != "over there\n" {
		t.Errorf("to the second address: got %q, want what the server answers", got)
	}
	if got := tried("12346"); got != "ereht revo\n" {
		t.Errorf("by a unix socket still: got %q, want what the server answers", got)
	}
	if out, err := r.try("systemd-analyze", "security", "--no-pager", "--threshold=20", "tcpmux.service"); err != nil {
		t.Errorf("systemd-analyze security with a network: got %v, want at most 2.0\n%s", err, out)
	}

	// A reload alone lifts nothing.
	r.edit(toml, `"127.0.0.1:9002"`, `"127.0.0.2:9002"`)
	r.reload()
	if got := tried("12347"); got != "" {
		t.Errorf("to an address that systemd does not know of yet: got %q, want nothing", got)
	}
	r.resocket()
	if got := tried("12347"); got != "over there\n" {
		t.Errorf("to that address once systemd knows it: got %q, want what the server answers", got)
	}

	r.edit(toml, strings.Replace(netProxyListener, `"127.0.0.1:9002"`, `"127.0.0.2:9002"`, 1), "")
	r.resocket()
	if got := tried("12346"); got != "ereht revo\n" {
		t.Errorf("by a unix socket again: got %q, want what the server answers", got)
	}
	r.isClosed()
}

// A client of a proxy goes on with its server over a restart; a crash ends both, with a record.
func TestARestartKeepsClientsOfAProxy(t *testing.T) {
	r := withServices(t, proxyListener)
	r.runs("app", appSocket, "socat", "UNIX-LISTEN:"+appSocket+",fork,mode=0666", "EXEC:cat")
	r.edit(toml, `drain_timeout = "10s"`, `drain_timeout = "80s"`)
	k, err := r.net.dial("127.0.0.1:12346")
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	echoed := func(text string) error {
		_, err := io.WriteString(k, text)
		got := make([]byte, len(text))
		if err == nil {
			_, err = io.ReadFull(k, got)
		}
		if err == nil && string(got) != text {
			err = errors.New("got " + string(got) + ", want " + text)
		}
		return err
	}
	if err := echoed("one\n"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r.run("systemctl", "restart", "tcpmux.service")
		if err := echoed("two\n"); err != nil {
			t.Error(err)
		}
	}
	if err := k.CloseWrite(); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(k); err != nil || len(rest) > 0 {
		t.Errorf("at the end: got %q, %v, want no more", rest, err)
	}
	if got, err := r.piped("three\n", "nc", "-N", "127.0.0.1", "12346"); err != nil || got != "three\n" {
		t.Errorf("after the restart: got %q, %v, want what the server answers", got, err)
	}
}
