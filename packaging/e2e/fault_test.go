//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// second returns a second listener, with further lines of configuration.
func second(address, lines string) string {
	return "\n[[listener]]\nname = \"second\"\naddress = \"" + address + "\"\n" + lines
}

const secondPort = "127.0.0.1:12346"

// occupy has another program listen on an address until free is called.
func (r *rig) occupy(address string) (free func()) {
	r.t.Helper()
	r.write("/etc/occupant.toml", "address = \""+address+"\"\n[record]\nfile = \"/tmp/occupant.log\"\n")
	r.run("systemd-run", "--unit=occupant", "--service-type=notify", "/usr/bin/tcpmux", "run", "--config", "/etc/occupant.toml")
	return func() { r.run("systemctl", "stop", "occupant.service") }
}

// awaitStatus waits until the daemon's status line contains all parts.
func (r *rig) awaitStatus(parts ...string) {
	r.t.Helper()
	r.await("STATUS= with "+strings.Join(parts, ", "), func() bool {
		status := r.show("tcpmux.service", "StatusText")
		for _, p := range parts {
			if !strings.Contains(status, p) {
				return false
			}
		}
		return true
	})
}

// A busy port does not keep other ports from being served, whether it is the first port or not. It
// is served once it is free.
func TestABusyPort(t *testing.T)           { busyPort(t, "tcpmux-second.socket", secondPort, port) }
func TestABusyPortOfTheFirst(t *testing.T) { busyPort(t, "tcpmux.socket", port, secondPort) }

func busyPort(t *testing.T, unit, busy, other string) {
	r := installed(t)
	r.explain(`Failed to (create listening socket|listen on sockets|start|open)`, `Address already in use`, `listener is not served.*address already in use`,
		`Failed to (receive listening socket|listen on)`, `Dependency failed`, `listener is not served.*systemd passed in no socket`)
	r.write(toml, r.read(toml)+second(secondPort, ""))
	r.run("systemctl", "daemon-reload")
	free := r.occupy(busy)
	_, _ = r.try("systemctl", "start", "tcpmux.socket") // it fails for the busy port
	if out, err := r.try("systemctl", "start", unit); err == nil {
		t.Errorf("systemctl start %s: got success %q, want a failure", unit, out)
	}
	r.visitAt(other, banner)
	r.awaitStatus("listener ", "("+busy+") is not served", "address already in use")
	talking := r.chattersAt(other, 5)
	free()
	r.await("the port that was busy", func() bool { return r.visit(busy, banner) == nil })
	r.visitAt(other, banner)
	if left, err := talking.dismiss(); left != 0 || err != nil {
		t.Errorf("talking clients: got %d ended and %v, want none", left, err)
	}
	r.await("no fault in STATUS=", func() bool { return !strings.Contains(r.show("tcpmux.service", "StatusText"), "not served") })
	r.awaitProperty("tcpmux-ports.service", "ActiveState", "inactive")
}

// No fault that is found at a start costs clients of the previous daemon, and each is shown.
func TestFaultsAtAStartCostNoClients(t *testing.T) {
	r := serving(t)
	r.explain(`listener is not served`, `Address already in use`, `Failed to (create|listen|start|open|receive)`)
	talking := r.chatters(20)
	(&throng{r: r}).settled()
	good := r.read(toml)
	r.write("/opt/handler", "#!/bin/sh\n")
	r.run("chmod", "0700", "/opt/handler")
	free := r.occupy(secondPort)
	for _, c := range []struct{ name, lines, status string }{
		{"a busy port", "", "address already in use"},
		{"exec_user without the drop-in", "exec = [\"/bin/cat\"]\nexec_user = \"nobody\"\n", `exec_user "nobody"`},
		{"a program for root alone", "exec = [\"/opt/handler\"]\n", `exec "/opt/handler": permission denied`},
		{"rules that are not there", "[listener.limits]\nrules = \"/etc/no.rules\"\n", "/etc/no.rules"},
	} {
		was := r.mainPID()
		r.write(toml, good+second(secondPort, c.lines))
		r.run("systemctl", "daemon-reload")
		r.install(newDeb) // its postinst restarts the daemon
		r.awaitOther(was)
		r.awaitStatus(`listener "second" (`+secondPort+`) is not served`, c.status)
		r.mustVisit()
		if c.lines == "" {
			free()
			r.await("the port that was busy", func() bool { return r.visit(secondPort, banner) == nil })
		}
	}
	if left, err := talking.dismiss(); left != 0 || err != nil {
		t.Errorf("talking clients: got %d ended and %v, want none", left, err)
	}
}

// When an address changes and only systemd is reloaded, systemd closes the old port, and the new
// one opens with the next daemon. Clients of the old port stay connected.
func TestANewAddressAfterADaemonReloadCostsNoClients(t *testing.T) {
	r := serving(t)
	r.explain(`listener is not served`)
	talking := r.chatters(20)
	(&throng{r: r}).settled()
	r.edit(toml, shipped, `address = "127.0.0.1:2000"`)
	r.run("systemctl", "daemon-reload")
	r.install(newDeb)
	r.await("the new port", func() bool { return r.visit("127.0.0.1:2000", banner) == nil })
	if left, err := talking.dismiss(); left != 0 || err != nil {
		t.Errorf("talking clients: got %d ended and %v, want none", left, err)
	}
}

// A reload that changes nothing because of a fault fails. The status line says why until a reload
// succeeds.
func TestAReloadThatReloadsNothingFails(t *testing.T) {
	r := serving(t)
	r.explain(`configuration not reloaded`, `tcpmux\.toml`, `Reload failed`, `Failed to reload`)
	talking := r.chatters(20)
	good := r.read(toml)
	r.write("/opt/handler", "#!/bin/sh\n")
	r.run("chmod", "0700", "/opt/handler")
	for _, c := range []struct{ name, text, status string }{
		{"no TOML", good + "address = \n", "not TOML"},
		{"a record file outside the sandbox", strings.Replace(good, `file = "records.log"`, `file = "/srv/records.log"`, 1), "/srv/records.log"},
		{"exec_user without the drop-in", "exec = [\"/bin/cat\"]\nexec_user = \"nobody\"\n" + strings.NewReplacer("\nexec = []", "", "\nexec_user = \"\"", "").Replace(good), `exec_user "nobody"`},
		{"a program for root alone", "exec = [\"/opt/handler\"]\n" + strings.Replace(good, "\nexec = []", "", 1), `exec "/opt/handler"`},
	} {
		if c.text == good {
			t.Fatalf("%s: the file is as it was", c.name)
		}
		r.write(toml, c.text)
		if out, err := r.try("systemctl", "reload", "tcpmux.service"); err == nil {
			t.Errorf("%s: got a reload that succeeds: %s", c.name, out)
		}
		r.awaitStatus("configuration not loaded: ", c.status)
		r.wantState("tcpmux.service", "active")
	}
	r.write(toml, strings.Replace(good, `Welcome connect!\r\n`, `hello\n`, 1))
	r.run("systemctl", "reload", "tcpmux.service")
	r.visitAt(port, "hello\n") // the reload is complete when the command returns
	r.await("no fault in STATUS=", func() bool { return !strings.Contains(r.show("tcpmux.service", "StatusText"), "not loaded") })
	if left, err := talking.dismiss(); left != 0 || err != nil {
		t.Errorf("talking clients: got %d ended and %v, want none", left, err)
	}
}

// The records of clients stay complete when their listener is renamed, gets another framing, or is
// removed.
func TestAListenerThatChangesUnderClients(t *testing.T) {
	r := jsonRecords(t)
	r.throng.join(20)
	r.throng.settled()
	r.throng.talk(100 * time.Millisecond)
	main := r.read(toml)
	for _, text := range []string{
		strings.Replace(main, `framing = "line"`, `framing = "nul"`, 1),
		strings.Replace(main, shipped, `address = []`, 1) + "\n[[listener]]\nname = \"renamed\"\naddress = \"" + port + "\"\n",
		strings.Replace(main, shipped, `address = "127.0.0.1:2000"`, 1),
		main,
	} {
		if text == r.read(toml) {
			t.Fatal("the file is as it was")
		}
		r.write(toml, text)
		r.resocket()
		r.run("systemctl", "restart", "tcpmux.service")
		was := r.mainPID()
		r.kill()
		r.awaitOther(was)
	}
	r.awaitProperty("tcpmux.service", "SubState", "running")
	r.throng.hush()
	r.await("the ends of all", func() bool { return strings.Count(r.read(records), `"kind":"close"`) == 20 })
	if out, err := r.try("tcpmux", "verify", records); err != nil {
		t.Errorf("verify: got %v, %s, want no fault", err, out)
	}
	if strings.Contains(r.read(records), `"listener":"renamed"`) {
		t.Error("records: got some of another listener than the clients began with")
	}
}
