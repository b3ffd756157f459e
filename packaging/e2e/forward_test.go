//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	forwardDeb = "../../build/e2e/forward.deb"
	forwarder  = "tcpmux-forward.service"
)

// forwarding boots a machine that records JSON and has the forwarder configured; neither that nor a
// server is started. Further pairs of old and new text change the configuration.
func forwarding(t *testing.T, pairs ...string) *rig {
	t.Helper()
	r := installed(t)
	r.install(forwardDeb)
	r.asJSON(append(pairs, "servers = []", `servers = ["`+natsURL+`"]`, "\ncreate = false", "\ncreate = true")...)
	r.tune("RestartSec=100ms")
	return r
}

// tune gives the forwarder's service further lines.
func (r *rig) tune(lines string) {
	r.t.Helper()
	r.write("/etc/systemd/system/"+forwarder+".d/e2e.conf", "[Service]\n"+lines+"\n")
	r.run("systemctl", "daemon-reload")
}

// lines returns all lines of a record file: of those that it was rotated to, and then its own.
func (r *rig) lines(file string) string {
	r.t.Helper()
	return r.run("sh", "-c", "zcat -f $(ls "+strings.TrimSuffix(file, ".log")+"-*.log* 2>/dev/null) "+file)
}

// awaitStored waits until the stream has n messages.
func (r *rig) awaitStored(n int, opts ...nats.Option) {
	r.t.Helper()
	r.await(fmt.Sprintf("%d messages in the stream", n), func() bool { return r.stored(opts...) >= n })
}

// awaitMore waits until the stream has more messages than now.
func (r *rig) awaitMore() {
	r.t.Helper()
	r.awaitStored(r.stored() + 1)
}

// checkDelivered fails unless the stream has each line of the record files of two listeners, once
// and in order. The daemon is stopped. What the stream has replaces the files, so that it can be
// compared with what the clients have sent.
func (r *rig) checkDelivered() {
	r.t.Helper()
	files := map[string]string{"tcpmux": records}
	if r.throng.own != "" {
		files["second"] = r.throng.own
	}
	want, n := make(map[string]string), 0
	for listener, file := range files {
		r.run("sh", "-c", "tcpmux verify "+strings.TrimSuffix(file, ".log")+"*")
		want[listener] = r.lines(file)
		n += strings.Count(want[listener], "\n")
	}
	r.awaitStored(n)
	r.run("systemctl", "stop", forwarder)
	got := r.readStream()
	for listener, file := range files {
		if got, want := got.lines(listener), want[listener]; got != want {
			r.t.Errorf("stream: got %d lines of listener %s, want the %d of %s; they differ from byte %d on",
				strings.Count(got, "\n"), listener, strings.Count(want, "\n"), file, differ(got, want))
		}
		r.write(file, got.lines(listener))
	}
	r.t.Logf("%d records", n)
	r.throng.check()
}

// TestForwardOverKillsAndOutages: each record is in the stream once and in order, whichever of the
// three services is restarted or killed, while small files are rotated and compressed.
func TestForwardOverKillsAndOutages(t *testing.T) {
	r := forwarding(t, `max_size = "100MiB"`, `max_size = "256KiB"`, `max_message = "64KiB"`, `max_message = "16KiB"`, "max_backups = 10", "max_backups = 0")
	r.explain("Failed with result", "Main process exited", "killed", "Failed to start tcpmux", "nats-server")
	r.write(toml, r.read(toml)+second(secondPort, "file = \"second.log\"\n"))
	r.startNATS("")
	r.resocket()
	r.throng.own = "/var/log/tcpmux/second.log"
	r.check = r.checkDelivered
	r.run("systemctl", "start", forwarder)
	r.throng.join(100)
	r.throng.settled()
	r.throng.talk(50 * time.Millisecond)
	r.awaitMore()
	for _, events := range [][]string{
		{"restart tcpmux-forward"},
		{"kill -s KILL tcpmux-forward"},
		{"restart tcpmux"},
		{"kill -s KILL tcpmux-forward", "kill -s KILL tcpmux"},
		{"restart nats-server"},
		{"stop nats-server", "kill -s KILL tcpmux-forward", "restart tcpmux", "start nats-server"},
		{"kill -s KILL nats-server", "start nats-server"},
		{"kill -s KILL tcpmux-forward", "kill -s KILL nats-server", "kill -s KILL tcpmux", "start nats-server"},
		{"kill -s KILL tcpmux-forward"},
	} {
		for _, e := range events {
			r.run(append([]string{"systemctl"}, strings.Fields(e)...)...)
		}
		r.awaitProperty("tcpmux.service", "SubState", "running")
		r.awaitMore()
	}
	r.throng.hush()
}

// TestForwardKeepsRetentionAway: what is not delivered stays, however many files there are, and is
// removed when it is delivered.
func TestForwardKeepsRetentionAway(t *testing.T) {
	r := forwarding(t, `max_size = "100MiB"`, `max_size = "16KiB"`, `max_message = "64KiB"`, `max_message = "1KiB"`, "max_backups = 10", "max_backups = 1", `keep = "5m"`, `keep = "0s"`)
	r.startNATS("")
	r.run("systemctl", "start", "tcpmux.socket")
	rotated := func() int {
		return strings.Count(r.run("sh", "-c", "ls /var/log/tcpmux/records-* || true"), ".log")
	}
	r.throng.join(10)
	r.throng.talk(2 * time.Millisecond)
	r.await("ten rotated files", func() bool { return rotated() >= 10 })
	r.throng.hush()
	want := strings.Count(r.lines(records), "\n")
	r.run("systemctl", "start", forwarder)
	r.awaitStored(want)
	r.await("retention", func() bool {
		r.run("tcpmux", "rotate")
		return rotated() <= 2
	})
	r.check = func() {
		r.run("systemctl", "stop", forwarder)
		r.write(records, r.readStream().lines("tcpmux"))
		r.throng.check()
	}
}

// TestForwarderIsConfined: it reads records and writes none, and nothing else of the machine's logs
// and state is there for it.
func TestForwarderIsConfined(t *testing.T) {
	r := forwarding(t)
	r.check = func() {}
	if out, err := r.try("systemd-analyze", "security", "--no-pager", "--threshold=15", forwarder); err != nil {
		t.Errorf("systemd-analyze security: got %v, want at most 1.5\n%s", err, out)
	}
	if out, err := r.try("systemd-analyze", "verify", "--man=no", forwarder); err != nil || out != "" {
		t.Errorf("systemd-analyze verify: got %v %q, want silence", err, out)
	}
	if got := r.show(forwarder, "UnitFileState"); got != "disabled" {
		t.Errorf("%s: got %s, want disabled until the administrator enables it", forwarder, got)
	}
	r.run("systemctl", "start", forwarder) // before the daemon has ever run
	r.run("systemctl", "start", "tcpmux.socket")
	r.throng.join(1)
	r.throng.hush()
	r.startNATS("")
	r.awaitStored(2)
	pid := r.show(forwarder, "MainPID")
	status := r.run("cat", "/proc/"+pid+"/status")
	for _, want := range []string{"CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		if !strings.Contains(status, want) {
			t.Errorf("the forwarder's status: got no %q in\n%s", want, status)
		}
	}
	inside := func(script string) (string, error) {
		return r.try("nsenter", "-t", pid, "-m", "setpriv", "--reuid=tcpmux-forward", "--regid=adm", "--clear-groups", "sh", "-c", script)
	}
	for script, may := range map[string]bool{
		"cat " + records: true,
		"cat /var/lib/tcpmux-forward/delivered.json": true,
		"touch /var/lib/tcpmux-forward/e2e":          true,
		": >>" + records:                             false,
		"touch /var/log/tcpmux/e2e":                  false,
		"rm " + records:                              false,
		"cat /var/log/dpkg.log":                      false,
		"cat /var/lib/dpkg/status":                   false,
		"ls /run/log/journal":                        false,
		"ls /run/tcpmux":                             false,
		"cat /etc/shadow":                            false,
		"touch /etc/e2e || touch /usr/e2e":           false,
	} {
		if out, err := inside(script); (err == nil) != may {
			t.Errorf("%s: got %v %q, want it to succeed: %v", script, err, out, may)
		}
	}
	if out, err := r.try("setpriv", "--reuid=tcpmux", "--regid=adm", "--clear-groups", "cat", "/var/lib/tcpmux-forward/delivered.json"); err != nil {
		t.Errorf("the state as the daemon's user: got %v %q, want it", err, out)
	}
}

// forwardState returns the state of the forwarder, and what is wrong, as a member of group adm may
// see it.
func (r *rig) forwardState() (state, fault string) {
	r.t.Helper()
	var s struct{ State, Error string }
	// It fails as long as nothing is delivered.
	out, _ := r.as("adm", "sh", "-c", "tcpmux-forward status --json 2>/dev/null")
	_ = json.Unmarshal([]byte(out), &s)
	return s.State, s.Error
}

// TestForwardOperation: a password comes as a credential, group adm sees what is wrong, a reload
// with an error fails, a hung forwarder is replaced, and nothing is lost or doubled meanwhile.
func TestForwardOperation(t *testing.T) {
	r := forwarding(t, "\nuser = \"\"", "\nuser = \"credential:user\"", "\npassword = \"\"", "\npassword = \"credential:password\"")
	r.explain(`Failed with result 'watchdog'`, "Watchdog timeout", "killed", "Reload failed", "not reloaded", "Control process exited")
	login := nats.UserInfo("machine", "right")
	r.startNATS("authorization { user: machine, password: right }\n")
	for name, text := range map[string]string{"user": "machine", "password": "wrong\n"} {
		r.write("/etc/secret/"+name, text)
		r.run("chmod", "0600", "/etc/secret/"+name)
	}
	r.tune("RestartSec=100ms\nWatchdogSec=3s\nLoadCredential=user:/etc/secret/user\nLoadCredential=password:/etc/secret/password")
	r.run("systemctl", "start", "tcpmux.socket", forwarder)
	r.throng.join(20)
	r.throng.settled()
	r.throng.talk(20 * time.Millisecond)
	r.await("refused credentials", func() bool {
		_, fault := r.forwardState()
		return strings.Contains(strings.ToLower(fault), "authori")
	})
	if out, err := r.as("", "tcpmux-forward", "status"); err == nil {
		t.Errorf("status as nobody: got %q, want a failure", out)
	}
	r.write("/etc/secret/password", "right\n")
	r.run("systemctl", "restart", forwarder)
	r.awaitStored(100, login)
	r.await("delivery", func() bool { state, _ := r.forwardState(); return state == "delivering" || state == "idle" })

	was := r.show(forwarder, "MainPID")
	r.run("systemctl", "kill", "-s", "STOP", forwarder)
	r.await("another process", func() bool { pid := r.show(forwarder, "MainPID"); return pid != was && pid != "0" })
	r.awaitStored(r.stored(login)+100, login)

	r.edit(toml, "\nrate = 0", "\nrate = -1")
	if out, err := r.try("systemctl", "reload", forwarder); err == nil {
		t.Errorf("reload with an error: got success %q, want a failure", out)
	}
	r.edit(toml, "\nrate = -1", "\nrate = 100000")
	r.edit(toml, "\nservers = ", "\n#servers = ")
	if out, err := r.try("systemctl", "reload", forwarder); err == nil {
		t.Errorf("reload without servers: got success %q, want a failure", out)
	}
	r.edit(toml, "\n#servers = ", "\nservers = ")
	r.run("systemctl", "reload", forwarder)
	r.await("the reload", func() bool {
		return strings.Contains(r.run("journalctl", "-q", "-u", forwarder, "-o", "cat"), "configuration reloaded")
	})
	r.awaitStored(r.stored(login)+100, login)
	r.throng.hush()
	r.check = func() {
		want := r.lines(records)
		r.awaitStored(strings.Count(want, "\n"), login)
		if got := r.readStream(login).lines("tcpmux"); got != want {
			t.Errorf("stream: it differs from %s from byte %d on", records, differ(got, want))
		}
		r.throng.check()
	}
}

// TestForwardPurge: the service starts with what root has done to its state. The state goes with
// the package, and what is then still configured is said.
func TestForwardPurge(t *testing.T) {
	r := forwarding(t)
	r.run("systemctl", "start", "tcpmux.socket")
	r.throng.join(1)
	r.throng.hush()
	r.run("tcpmux-forward", "--forget")
	r.run("systemctl", "enable", "--now", forwarder)
	r.run("systemctl", "stop", forwarder)
	r.run("tcpmux-forward", "--forget")
	r.run("systemctl", "start", forwarder)
	r.run("rm", "-r", "/etc/systemd/system/"+forwarder+".d")
	said := r.run("dpkg", "--purge", "tcpmux-forward")
	if strings.Contains(said, "warning") || !strings.Contains(said, "until [forward] is removed from "+toml) {
		t.Errorf("purge: got %q, want what keeps records, and no warning", said)
	}
	if got := r.run("find", "/etc", "/usr", "/var", "/run", "-xdev", "-name", "*tcpmux-forward*"); got != "" {
		t.Errorf("purged: got traces\n%s", got)
	}
	if out, err := r.try("getent", "passwd", "tcpmux-forward"); err == nil {
		t.Errorf("user: got %q, want none", out)
	}
}
