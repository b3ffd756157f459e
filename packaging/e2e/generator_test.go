//go:build e2e

package e2e

import (
	"errors"
	"strings"
	"testing"
)

const shipped = `address = "` + port + `"`

// move changes the address, and applies that as the manual says.
func (r *rig) move(old, address string) {
	r.t.Helper()
	r.edit(toml, old, address)
	r.resocket()
}

func (r *rig) resocket() {
	r.t.Helper()
	r.run("systemctl", "daemon-reload")
	r.run("systemctl", "restart", "tcpmux.socket")
}

// visitAt is mustVisit for another port and banner.
func (r *rig) visitAt(addr, banner string) {
	r.t.Helper()
	if err := r.visit(addr, banner); err != nil {
		r.t.Errorf("visit %s: %v", addr, err)
	}
}

// backlog returns the length of the kernel's queue of a listening port, as ss shows it.
func (r *rig) backlog(port string) string {
	r.t.Helper()
	fields := strings.Fields(r.run("ss", "-ltnH", "sport = :"+port))
	if len(fields) < 3 {
		return "none"
	}
	return fields[2]
}

func TestPortMovesWithTheFile(t *testing.T) {
	r := serving(t)
	talking := r.chatters(50)
	r.edit(toml, `backlog = 4096`, `backlog = 77`)
	r.move(shipped, `address = ["127.0.0.2:80", "[::1]:80"]`)
	if _, err := talking.dismiss(); err != nil {
		t.Errorf("clients of the old port: %v", err)
	}
	r.mustRefuse(port)
	for _, addr := range []string{"127.0.0.2:80", "[::1]:80"} {
		r.visitAt(addr, banner)
	}
	if got := r.backlog("80"); got != "77" {
		t.Errorf("Send-Q of the port: got %s, want the backlog 77", got)
	}

	r.reboot()
	r.visitAt("[::1]:80", banner)
	r.mustRefuse(port)
}

func TestListenersByName(t *testing.T) {
	r := serving(t)
	scanners := "[[listener]]\nname = \"scanners\"\naddress = \"127.0.0.1:12346\"\nbanner = \"{listener}\\n\"\n"
	trackers := "[[listener]]\nname = \"trackers\"\naddress = [\"127.0.0.1:12347\", \"[::1]:12347\"]\nbanner = \"{listener}\\n\"\n"
	r.write(toml, r.read(toml)+scanners+trackers)
	r.resocket()
	r.mustVisit()
	r.visitAt("127.0.0.1:12346", "scanners\n")
	r.visitAt("127.0.0.1:12347", "trackers\n")
	r.visitAt("[::1]:12347", "trackers\n")

	r.run("systemctl", "stop", "tcpmux.socket")
	for _, addr := range []string{port, "127.0.0.1:12346", "127.0.0.1:12347"} {
		r.mustRefuse(addr)
	}
	r.run("systemctl", "start", "tcpmux.socket")
	r.visitAt("127.0.0.1:12346", "scanners\n")

	r.edit(toml, scanners, "")
	r.resocket()
	r.mustRefuse("127.0.0.1:12346")
	r.mustVisit()
	r.visitAt("[::1]:12347", "trackers\n")
}

// No port is closed while the daemon restarts, not even for a moment.
func TestListenersByNameRefuseNobodyAtRestart(t *testing.T) {
	r := serving(t)
	r.write(toml, r.read(toml)+"[[listener]]\nname = \"scanners\"\naddress = \"127.0.0.1:12346\"\nbanner = \"{listener}\\n\"\n")
	r.resocket()
	coming := r.newcomers()
	others := gather(2, func() error { return r.visit("127.0.0.1:12346", "scanners\n") })
	for range 3 {
		r.run("systemctl", "restart", "tcpmux.service")
	}
	if err := errors.Join(coming.dismiss(), others.dismiss()); err != nil {
		t.Error(err)
	}
}

// When systemd is reloaded but the socket is not restarted, the old port stays open as long as the
// daemon runs; the next daemon gets the new port.
func TestForgottenSocketIsOpenedWithTheNextDaemon(t *testing.T) {
	r := serving(t)
	r.explain(`Failed to start tcpmux`, `tcpmux\.toml`, `passed in by systemd`)
	r.mustVisit()
	r.edit(toml, shipped, `address = ["127.0.0.1:2000", "127.0.0.1:2001"]`)
	r.run("systemctl", "daemon-reload")
	r.mustVisit()
	_, _ = r.try("systemctl", "restart", "tcpmux.service") // it may fail once
	for _, addr := range []string{"127.0.0.1:2000", "127.0.0.1:2001"} {
		r.await(addr, func() bool { return r.visit(addr, banner) == nil })
	}
}

// A broken file is ignored: a running daemon keeps its port, and a socket that is started again has
// the shipped one.
func TestBrokenFileLeavesThePort(t *testing.T) {
	r := serving(t)
	r.explain(`tcpmux\.toml`, `Failed to start tcpmux`, `tcpmux-generator failed with exit status 1`)
	r.move(shipped, `address = "127.0.0.1:2000"`)
	talking := r.chattersAt("127.0.0.1:2000", 20)
	r.edit(toml, `address = "127.0.0.1:2000"`, `address = "127.0.0.1"`)
	r.run("systemctl", "daemon-reload")
	if said := r.run("journalctl", "-q", "-u", "tcpmux.socket", "-o", "cat"); !strings.Contains(said, `address`) {
		t.Errorf("journal of tcpmux.socket: got %q, want the fault", said)
	}
	r.visitAt("127.0.0.1:2000", banner)
	if left, err := talking.dismiss(); left != 0 || err != nil {
		t.Errorf("talking clients: got %d ended and %v, want none", left, err)
	}

	r.run("systemctl", "stop", "tcpmux.socket")
	r.run("systemctl", "start", "tcpmux.socket")
	r.mustRefuse("127.0.0.1:2000")
	waiting, err := r.dial(port)
	if err != nil {
		t.Fatalf("the shipped port: %v", err)
	}
	r.edit(toml, `address = "127.0.0.1"`, shipped)
	if err := errors.Join(waiting.greeted(banner), waiting.say(3), waiting.bye()); err != nil {
		t.Error(err)
	}
}

// When the file is edited but the socket is not restarted, one line in the journal says so.
func TestDisagreementIsTold(t *testing.T) {
	r := serving(t)
	r.edit(toml, shipped, `address = "127.0.0.1:2000"`)
	r.mustVisit()
	var told int
	for line := range strings.Lines(r.run("journalctl", "-q", "-u", "tcpmux.service", "-o", "cat")) {
		if strings.Contains(line, "127.0.0.1:2000") && strings.Contains(line, port) {
			told++
		}
	}
	if told != 1 {
		t.Errorf("lines that name both addresses: got %d, want 1", told)
	}
}
