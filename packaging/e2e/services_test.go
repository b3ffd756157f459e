//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	frontPort   = "127.0.0.1:12346"
	frontSocket = "/run/tcpmux/front.sock"
	goAhead     = "+Go\r\n"
)

const muxListeners = `
[[listener]]
name = "front"
address = ["` + frontPort + `", "unix:` + frontSocket + `"]
mode = "0666"
mux = ["scanners", "hidden"]

[[listener]]
name = "scanners"
address = "127.0.0.1:12347"
banner = "{listener}\n"

[[listener]]
name = "hidden"
banner = "{listener}\n"
`

// withServices boots a machine whose daemon has further listeners and records JSON.
func withServices(t *testing.T, listeners string) *rig {
	t.Helper()
	r := installed(t)
	r.asJSON()
	r.write(toml, r.read(toml)+listeners)
	r.resocket()
	return r
}

// One port has several services, and one of them has no port of its own. Clients of today and of
// 1988 reach them, and the records have who serves, and by which way the client has come.
func TestServicesBehindOnePort(t *testing.T) {
	r := withServices(t, muxListeners)
	tcp, unix := []string{"nc", "-N", "127.0.0.1", "12346"}, as("www-data", "nc", "-U", "-N", frontSocket)
	connect := []string{"tcpmux", "connect", "--service", "Hidden", frontPort}
	for _, c := range []struct {
		name, said string
		client     []string
		want       string
	}{
		{"by name", "scanners\r\na 1\na 2\n", tcp, goAhead + "scanners\n"},
		{"in capitals, ended by LF", "HIDDEN\nb 1\n", tcp, goAhead + "hidden\n"},
		{"over the unix socket", "hidden\r\nc 1\n", unix, goAhead + "hidden\n"},
		{"by tcpmux connect", "d 1\n", connect, "hidden\n"},
		{"HELP", "help\r\n", tcp, "scanners\r\nhidden\r\n"},
		{"a name that is not of this mux", "tcpmux\r\n", tcp, "-unknown service \"tcpmux\"\r\n"},
	} {
		if got, err := r.piped(c.said, c.client...); err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.name, got, err, c.want)
		}
	}
	out, err := r.piped("", "tcpmux", "connect", "--service", "nothing", frontPort)
	if err == nil || !strings.Contains(out, `unknown service "nothing"`) {
		t.Errorf("tcpmux connect: got %q, %v, want the server's reason", out, err)
	}
	if out, err := r.try("systemctl", "cat", "tcpmux-hidden.socket"); err == nil {
		t.Errorf("a listener without an address: got the unit %q, want none", out)
	}
	got := r.ways()
	for line, want := range map[string]string{"a 1": "scanners via front", "a 2": "scanners via front", "b 1": "hidden via front", "c 1": "hidden via front", "d 1": "hidden via front"} {
		if got[line] != want {
			t.Errorf("the record of %q: got %q, want %q", line, got[line], want)
		}
	}
	if len(got) != 5 {
		t.Errorf("records: got %v, want 5 messages", got)
	}
}

// ways returns, for each recorded message, which listener has served its client, via which mux.
func (r *rig) ways() map[string]string {
	r.t.Helper()
	ways := make(map[string]string)
	for line := range strings.Lines(r.read(records)) {
		var o struct{ Kind, Listener, Mux, Data string }
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			r.t.Fatalf("got %q, want a record", line)
		}
		if o.Kind == "message" {
			ways[o.Data] = o.Listener + " via " + o.Mux
		}
	}
	return ways
}

// begins connects a client to the mux, which sends the beginning of a name, or more. It belongs to
// the throng, which has its records checked.
func (r *rig) begins(text string) *member {
	r.t.Helper()
	conn, err := r.net.dial(frontPort)
	if err != nil {
		r.t.Fatal(err)
	}
	n := len(r.throng.members)
	m := &member{conn: conn, name: fmt.Sprintf("m%d", n), file: records, rnd: rand.New(rand.NewPCG(uint64(n), 2))}
	r.throng.members = append(r.throng.members, m)
	if _, err := io.WriteString(conn, text); err != nil {
		r.t.Fatal(err)
	}
	return m
}

// names sends the rest of a name, and waits for the reply and the banner.
func (m *member) names(rest, banner string) error {
	_, err := io.WriteString(m.conn, rest)
	got := make([]byte, len(goAhead+banner))
	if err == nil {
		_, err = io.ReadFull(m.conn, got)
	}
	if err == nil && string(got) != goAhead+banner {
		err = errors.New("other words")
	}
	if err != nil {
		return fmt.Errorf("%s: got %q, %w, want %q", m.name, got, err, goAhead+banner)
	}
	return nil
}

// A client outlives the daemon in the middle of the name, and in the middle of what it says to the
// service that it has named.
func TestANameIsNotForgotten(t *testing.T) {
	r := withServices(t, muxListeners)
	r.slowly()
	chosen := r.begins("")
	if err := errors.Join(chosen.names("hidden\r\n", "hidden\n"), chosen.say("one\nhal")); err != nil {
		t.Fatal(err)
	}
	restarted, killed := r.begins("scan"), r.begins("HID")
	r.run("systemctl", "restart", "tcpmux.service")
	if err := errors.Join(restarted.names("ners\r\n", "scanners\n"), restarted.say("tw")); err != nil {
		t.Error(err)
	}
	was := r.mainPID()
	r.kill()
	r.await("the daemon's end", func() bool { return r.mainPID() == "0" })
	if _, err := io.WriteString(killed.conn, "DEN\n"); err != nil { // that nobody hears yet
		t.Fatal(err)
	}
	r.awaitOther(was)
	if err := errors.Join(killed.names("", "hidden\n"), killed.say("three\n")); err != nil {
		t.Error(err)
	}
	if err := errors.Join(restarted.say("o\n"), chosen.say("f a line\n")); err != nil {
		t.Error(err)
	}
	for _, m := range r.throng.members {
		if err := m.bye(); err != nil {
			t.Error(err)
		}
	}
	got := r.ways()
	for line, want := range map[string]string{"one": "hidden via front", "half a line": "hidden via front", "two": "scanners via front", "three": "hidden via front"} {
		if got[line] != want {
			t.Errorf("the record of %q: got %q, want %q", line, got[line], want)
		}
	}
}

// A service without a port needs nothing of systemd: a reload adds it.
func TestAReloadAddsAServiceToAMux(t *testing.T) {
	r := withServices(t, muxListeners)
	first := r.begins("")
	if err := errors.Join(first.names("scanners\n", "scanners\n"), first.bye()); err != nil {
		t.Fatal(err)
	}
	r.awaitStarted()
	r.edit(toml, `mux = ["scanners", "hidden"]`, `mux = ["scanners", "hidden", "late"]`)
	r.write(toml, r.read(toml)+"\n[[listener]]\nname = \"late\"\nbanner = \"{listener}\\n\"\n")
	stays := r.begins("hid")
	r.reload()
	if err := errors.Join(stays.names("den\r\n", "hidden\n"), stays.say("second\n"), stays.bye()); err != nil {
		t.Error(err)
	}
	if got, err := r.piped("late\r\nfirst\n", "nc", "-N", "127.0.0.1", "12346"); err != nil || got != goAhead+"late\n" {
		t.Errorf("the new service: got %q, %v, want its banner", got, err)
	}
	if got, want := r.ways(), "late via front"; got["first"] != want {
		t.Errorf("records: got %v, want first from %s", got, want)
	}
}

const builtinListeners = `
[[listener]]
name = "echo"
address = "127.0.0.1:7"
service = "echo"

[[listener]]
name = "discard"
address = "127.0.0.1:9"
service = "discard"

[[listener]]
name = "daytime"
address = "127.0.0.1:13"
service = "daytime"

[[listener]]
name = "chargen"
address = "127.0.0.1:19"
service = "chargen"

[[listener]]
name = "time"
address = "127.0.0.1:37"
service = "time"
`

// The services of inetd on their ports, which systemd opens. They leave no record, need no power
// that the daemon does not have, and their clients outlive it.
func TestServicesOfInetd(t *testing.T) {
	r := withServices(t, builtinListeners)
	now := time.Now().Unix() + 2208988800 // since 1900 (RFC 868)
	for _, c := range []struct{ said, command, want string }{
		{"hello\nhalf", "nc -N 127.0.0.1 7", "^hello\nhalf$"},
		{"hello\n", "nc -N 127.0.0.1 9", "^$"},
		{"", "socat -u TCP:127.0.0.1:13 -", `^[^\r\n]*\b20\d\d\b[^\r\n]*\r\n$`},
		{"", "nc -d 127.0.0.1 19 | head -c 74", "^ !\"#.{68}\r\n$"},
		{"", "nc -d 127.0.0.1 37 | od -An -tu1 -w4", `^ +\d+ +\d+ +\d+ +\d+\n$`},
	} {
		if got, err := r.piped(c.said, "sh", "-c", c.command); err != nil || !regexp.MustCompile(c.want).MatchString(got) {
			t.Errorf("%s: got %q, %v, want %s", c.command, got, err, c.want)
		}
	}
	var b [4]byte
	if _, err := fmt.Sscan(r.run("sh", "-c", "nc -d 127.0.0.1 37 | od -An -tu1 -w4"), &b[0], &b[1], &b[2], &b[3]); err != nil {
		t.Error(err)
	}
	if got := int64(b[0])<<24 | int64(b[1])<<16 | int64(b[2])<<8 | int64(b[3]); got < now-3600 || got > now+3600 {
		t.Errorf("time: got %d, want about %d", got, now)
	}
	r.echoes()
	if got := r.size(records); got != 0 {
		t.Errorf("%s: got %q, want nothing", records, r.read(records))
	}
	r.isClosed()
}

// echoes has a client of echo outlive a restart and a kill, after which the daemon may repeat what
// it has echoed.
func (r *rig) echoes() {
	r.t.Helper()
	k, err := r.net.dial("127.0.0.1:7")
	if err != nil {
		r.t.Fatal(err)
	}
	defer k.Close()
	for i, end := range []func(){
		func() { r.run("systemctl", "restart", "tcpmux.service") },
		func() { was := r.mainPID(); r.kill(); r.awaitOther(was) },
		func() {},
	} {
		said := fmt.Sprintf("line %d\n", i)
		if _, err := io.WriteString(k, said); err != nil {
			r.t.Fatal(err)
		}
		var got strings.Builder
		for b := make([]byte, 1); !strings.HasSuffix(got.String(), said); {
			if _, err := k.Read(b); err != nil {
				r.t.Fatalf("echo: got %q, %v, want %q", got.String(), err, said)
			}
			got.Write(b)
		}
		if got.String() != said && i < 2 {
			r.t.Errorf("echo: got %q, want %q", got.String(), said)
		}
		end()
	}
}

// isClosed fails unless the service has no network and is as confined as it was shipped.
func (r *rig) isClosed() {
	r.t.Helper()
	if got := r.show("tcpmux.service", "PrivateNetwork"); got != "yes" {
		r.t.Errorf("PrivateNetwork: got %s, want yes", got)
	}
	if out, err := r.try("systemd-analyze", "security", "--no-pager", "--threshold=12", "tcpmux.service"); err != nil {
		r.t.Errorf("systemd-analyze security: got %v, want at most 1.2\n%s", err, out)
	}
}
