//go:build e2e

package e2e

import (
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The listeners of these tests: a program that shows its own environment, an echo that is recorded,
// and a program that does not end.
const programs = `
[[listener]]
name = "self"
address = "127.0.0.1:12346"
exec = ["/bin/sh", "-c", """
id -un; ulimit -v; ls /proc/$$/fd; sed -n 's/^\\(CapEff\\|CapBnd\\|NoNewPrivs\\|SigIgn\\):.//p' /proc/self/status
touch /etc/e2e 2>/dev/null || echo confined
echo complaint >&2; exit 3"""]
exec_memory = "64MiB"
#exec_user = "nobody"

[[listener]]
name = "echo"
address = "127.0.0.1:12347"
exec = ["/bin/cat"]
record = true

[[listener]]
name = "powers"
address = "127.0.0.1:12349"
exec = ["/bin/sed", "-n", "s/^Cap[EPA][a-z]*:.//p", "/proc/self/status"]

[[listener]]
name = "stays"
address = "127.0.0.1:12348"
exec = ["/bin/sh", "-c", "setsid sleep 100001 & trap '' TERM; echo here; while :; do sleep 100002; done"]
`

// withPrograms boots a machine whose daemon serves programs.
func withPrograms(t *testing.T) *rig {
	t.Helper()
	r := installed(t)
	r.write(toml, `drain_timeout = "1s"`+"\n"+r.read(toml)+programs)
	r.edit(toml, `drain_timeout = "10s"`+"\n", "")
	r.resocket()
	return r
}

// hearAll returns what a port sends until it closes.
func (r *rig) hearAll(addr string) string {
	r.t.Helper()
	conn, err := r.net.dial(addr)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	said, err := io.ReadAll(conn)
	if err != nil {
		r.t.Fatal(err)
	}
	return internalSignals.ReplaceAllString(string(said), "\n0000000000000000\n")
}

// internalSignals matches signal masks that have the C library's own signals, 32 and 33: the
// process that started systemd here may have blocked them.
var internalSignals = regexp.MustCompile(`\n0{7}[01][08]0{7}\n`)

func TestProgramsOfThePackagedService(t *testing.T) {
	r := withPrograms(t)
	const clean = "\n65536\n0\n1\n2\n0000000000000000\n0000000000000000\n"
	if got, want := r.hearAll("127.0.0.1:12346"), "tcpmux"+clean+"0000000000000000\n1\nconfined\n"; got != want {
		t.Errorf("a program says %q, want %q", got, want)
	}
	r.await("its end in the record", func() bool { return strings.Contains(r.read(records), ": exit 3, 0 records, 0 bytes\n") })
	r.await("its complaint in the journal", func() bool { return r.count("line=complaint") == 1 })

	k, err := r.dial("127.0.0.1:12347")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.say(3); err != nil {
		t.Error(err)
	}
	// The program echoes the client's lines.
	if err := k.greeted(k.name + " 1\n" + k.name + " 2\n" + k.name + " 3\n"); err != nil {
		t.Error(err)
	}
	if err := k.bye(); err != nil {
		t.Error(err)
	}
	r.visitAt(port, banner)
}

// A program of another user needs a drop-in. Without it a reload fails and says what to do. With it
// the program has the other user's rights, and none of the daemon's.
func TestProgramsOfAnotherUser(t *testing.T) {
	r := withPrograms(t)
	r.visitAt(port, banner)
	r.edit(toml, `#exec_user = "nobody"`, `exec_user = "nobody"`)
	r.explain(`configuration not reloaded.*exec_user`, `Reload failed`)
	// A client may be served before systemd knows that the service has started.
	r.awaitProperty("tcpmux.service", "ActiveState", "active")
	if out, err := r.try("systemctl", "reload", "tcpmux.service"); err == nil {
		t.Errorf("reload: got %q and no error, want it to fail", out)
	}
	r.await("the refusal", func() bool { return r.count("/usr/share/tcpmux/exec-user.conf") > 0 })
	r.visitAt(port, banner)

	r.run("install", "-D", "-m", "0644", "/usr/share/tcpmux/exec-user.conf", "/etc/systemd/system/tcpmux.service.d/exec-user.conf")
	r.run("systemctl", "daemon-reload")
	r.run("systemctl", "restart", "tcpmux.service")
	got := r.hearAll("127.0.0.1:12346")
	if !strings.HasPrefix(got, "nobody\n65536\n0\n1\n2\n0000000000000000\n0000000000000000\n") || !strings.HasSuffix(got, "\n1\nconfined\n") {
		t.Errorf("a program says %q, want that it is nobody's and has no power", got)
	}
	const none = "0000000000000000\n"
	if got := r.hearAll("127.0.0.1:12349"); got != none+none+none {
		t.Errorf("a program of the daemon's own user has the powers %q, want none", got)
	}
	if out, err := r.try("systemd-analyze", "security", "--no-pager", "--threshold=30", "tcpmux.service"); err != nil {
		t.Errorf("systemd-analyze security with the drop-in: got %v, want at most 3.0\n%s", err, out)
	}
}

// No program outlives the service: neither one that ignores SIGTERM, nor a process that has left
// the program's process group.
func TestProgramsEndWithTheService(t *testing.T) {
	r := withPrograms(t)
	k, err := r.call("127.0.0.1:12348", "here\n")
	if err != nil {
		t.Fatal(err)
	}
	r.run("systemctl", "stop", "tcpmux.socket", "tcpmux.service")
	k.tear()
	if out, err := r.try("pgrep", "-f", "sleep 10000"); err == nil {
		t.Errorf("got processes %s, want none", out)
	}
	if !strings.Contains(r.read(records), ": drain, 0 records, 0 bytes\n") {
		t.Errorf("records: got %q, want the program's end", r.read(records))
	}
}

// At a restart programs finish first. Meanwhile all other clients are served, and new ones are
// accepted; new clients of programs wait for the next daemon. Neither the watchdog nor
// TimeoutStopSec= interrupts this.
func TestOthersAreServedWhileProgramsFinish(t *testing.T) {
	r := withPrograms(t)
	r.write("/etc/systemd/system/tcpmux.service.d/e2e.conf", "[Service]\nWatchdogSec=1s\nTimeoutStopSec=1s\n")
	r.run("systemctl", "daemon-reload")
	r.edit(toml, `drain_timeout = "1s"`, `drain_timeout = "80s"`)
	r.run("systemctl", "restart", "tcpmux.service")
	other := r.mustCall()
	echo, err := r.dial("127.0.0.1:12347")
	if err != nil {
		t.Fatal(err)
	}
	// The program echoes the client's line.
	if err := errors.Join(echo.say(1), echo.greeted(echo.name+" 1\n")); err != nil {
		t.Fatal(err)
	}
	was := r.mainPID()
	r.run("systemctl", "restart", "--no-block", "tcpmux.service")
	r.await("the wait in STATUS=", func() bool { return strings.Contains(r.show("tcpmux.service", "StatusText"), ", 1 may finish first") })
	late := r.mustCall()
	for _, k := range []*talker{other, late} {
		if err := k.say(1); err != nil {
			t.Fatal(err)
		}
		r.await("its record", func() bool { return strings.Contains(r.read(records), ": "+k.name+" 1\n") })
	}
	waiting, err := r.dial("127.0.0.1:12347")
	if err == nil {
		err = waiting.say(1)
	}
	if err != nil {
		t.Fatal(err)
	}
	// This is longer than systemd's timeouts, had the daemon not asked for more time.
	time.Sleep(3 * time.Second)
	if got := r.mainPID(); got != was {
		t.Errorf("daemon: got process %s, want %s still", got, was)
	}
	if err := errors.Join(echo.say(1), echo.greeted(echo.name+" 2\n"), echo.bye()); err != nil {
		t.Error(err)
	}
	r.awaitOther(was)
	if err := errors.Join(waiting.greeted(waiting.name+" 1\n"), waiting.bye()); err != nil {
		t.Error(err)
	}
	for _, k := range []*talker{other, late} {
		if err := errors.Join(k.say(2), k.bye()); err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(r.read(records), ": exit 0, 2 records") {
		t.Error("records: got no end of the program by itself")
	}
}

// A stop while a restart waits for programs is a stop, although systemd sends no second signal:
// there is no next daemon that could go on with the clients.
func TestAStopWhileARestartWaitsForPrograms(t *testing.T) {
	r := withPrograms(t)
	r.edit(toml, `drain_timeout = "1s"`, `drain_timeout = "10s"`)
	r.run("systemctl", "restart", "tcpmux.service")
	other := r.mustCall()
	if err := other.say(3); err != nil {
		t.Fatal(err)
	}
	k, err := r.call("127.0.0.1:12348", "here\n")
	if err != nil {
		t.Fatal(err)
	}
	r.run("systemctl", "restart", "--no-block", "tcpmux.service")
	r.await("the wait in STATUS=", func() bool { return strings.Contains(r.show("tcpmux.service", "StatusText"), ", 1 may finish first") })
	r.run("systemctl", "stop", "--no-block", "tcpmux.socket", "tcpmux.service")
	// The connection is closed, and not reset.
	if err := errors.Join(other.hear(), other.bye()); err != nil {
		t.Errorf("who is no program's: got %v, want the end in good order", err)
	}
	k.tear()
	r.awaitProperty("tcpmux.service", "ActiveState", "inactive")
	if got := r.read(records); !strings.Contains(got, " close from "+other.conn.LocalAddr().String()+": eof, 3 records, ") || strings.Count(got, " open from ") != strings.Count(got, " close from ") {
		t.Errorf("records: got %s, want an end of each session", got)
	}
}

// A second signal ends the wait for programs: the daemon and the programs end at once, and all
// other clients go on with the next daemon.
func TestASecondSignalEndsTheWaitForPrograms(t *testing.T) {
	r := withPrograms(t)
	r.edit(toml, `drain_timeout = "1s"`, `drain_timeout = "80s"`)
	r.run("systemctl", "restart", "tcpmux.service")
	other := r.mustCall()
	k, err := r.call("127.0.0.1:12348", "here\n")
	if err != nil {
		t.Fatal(err)
	}
	was := r.mainPID()
	r.run("systemctl", "restart", "--no-block", "tcpmux.service")
	r.await("the wait in STATUS=", func() bool { return strings.Contains(r.show("tcpmux.service", "StatusText"), ", 1 may finish first") })
	r.run("systemctl", "kill", "--signal=TERM", "--kill-who=main", "tcpmux.service")
	r.awaitOther(was)
	k.tear()
	if err := errors.Join(other.say(3), other.bye()); err != nil {
		t.Error(err)
	}
	if out, err := r.try("pgrep", "-f", "sleep 100002"); err == nil {
		t.Errorf("got processes %s, want none", out)
	}
}
