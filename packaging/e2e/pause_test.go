//go:build e2e

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// restarts returns how often systemd has restarted the daemon by itself.
func (r *rig) restarts() int {
	r.t.Helper()
	n, err := strconv.Atoi(r.show("tcpmux.service", "NRestarts"))
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// An error in the file is applied as the manual says, and repaired with the same commands. The port
// is served all the time, first with the previous configuration, and all clients stay connected.
func TestRecoveryLeavesThePortOpen(t *testing.T) {
	r := serving(t)
	r.explain(`tcpmux\.toml`, `tcpmux-generator failed with exit status 1`)
	talking := r.chatters(20)
	for range 3 {
		r.edit(toml, shipped, `address = "127.0.0.1"`)
		r.resocket()
		r.mustVisit()
		r.edit(toml, `address = "127.0.0.1"`, shipped)
		r.resocket()
		r.mustVisit()
	}
	if left, err := talking.dismiss(); left != 0 || err != nil {
		t.Errorf("talking clients: got %d ended and %v, want none", left, err)
	}
}

// The same at any other moment of a failing start. systemd may then refuse to open the port: the
// next start opens it.
func TestRecoveryAtAnyMomentOpensThePort(t *testing.T) {
	r := serving(t)
	r.explain(`tcpmux\.toml`, `Failed to start tcpmux`, `Failed to listen on tcpmux`, `already active, refusing`, `tcpmux-generator failed with exit status 1`)
	talking := r.chatters(20)
	for i := range 6 {
		r.edit(toml, shipped, `address = "127.0.0.1"`)
		r.run("systemctl", "daemon-reload")
		r.run("systemctl", "restart", "--no-block", "tcpmux.socket")
		r.run("sleep", fmt.Sprintf("0.%d", i))
		r.edit(toml, `address = "127.0.0.1"`, shipped)
		r.run("systemctl", "daemon-reload")
		_, _ = r.try("systemctl", "restart", "tcpmux.socket")
		r.await("the port", func() bool { return r.visit(port, banner) == nil })
	}
	if left, err := talking.dismiss(); left != 0 || err != nil {
		t.Errorf("talking clients: got %d ended and %v, want none", left, err)
	}
}

// When systemd cannot make the sandbox, tcpmux.service does not run at all.
func TestASandboxWithoutItsPath(t *testing.T) {
	const dropIn = "/etc/systemd/system/tcpmux.service.d/e2e.conf"
	withoutASandbox(t, "mkdir -p $(dirname "+dropIn+") && printf '[Service]\\nReadWritePaths=/no/such\\n' >"+dropIn, "rm "+dropIn)
}

func TestASandboxBelowASymbolicLink(t *testing.T) {
	withoutASandbox(t, "mv /var/log/tcpmux /srv/records && ln -s /srv/records /var/log/tcpmux", "rm /var/log/tcpmux && mv /srv/records /var/log/tcpmux")
}

func TestASandboxOfNobody(t *testing.T) {
	withoutASandbox(t, "cp -a /etc/passwd /root && sed -i /^tcpmux:/d /etc/passwd", "cp -a /root/passwd /etc")
}

// withoutASandbox breaks the sandbox while clients are connected. Starts become rarer, no client is
// dropped, and once the sandbox is repaired the clients that have waited are served.
func withoutASandbox(t *testing.T, spoil, mend string) {
	r := serving(t)
	r.explain(`Failed to start tcpmux`, `tcpmux\.service: `)
	talking := r.chatters(20)
	r.run("sh", "-c", spoil)
	r.run("systemctl", "daemon-reload")
	if out, err := r.try("systemctl", "restart", "tcpmux.service"); err == nil {
		t.Fatalf("restart: got success %q, want a failure", out)
	}
	r.await("a third attempt", func() bool { return r.restarts() >= 3 })
	for i, p := range r.pauses() {
		if p < float64(i+1) {
			t.Errorf("pause %d: got %.2f s, want %d s at least", i+1, p, i+1)
		}
	}
	r.run("sh", "-c", mend)
	r.run("systemctl", "daemon-reload")
	r.awaitProperty("tcpmux.service", "SubState", "running")
	r.mustVisit()
	if left, err := talking.dismiss(); left != 0 || err != nil {
		t.Errorf("talking clients: got %d ended and %v, want none", left, err)
	}
}

// pauses returns the seconds from each time that systemd has scheduled a restart to the failure of
// that restart.
func (r *rig) pauses() (seconds []float64) {
	r.t.Helper()
	began := 0.0
	for line := range strings.Lines(r.run("journalctl", "-q", "-u", "tcpmux.service", "-o", "short-unix")) {
		stamp, _, _ := strings.Cut(line, " ")
		at, err := strconv.ParseFloat(stamp, 64)
		switch {
		case err != nil:
		case strings.Contains(line, "Scheduled restart job"):
			began = at
		case strings.Contains(line, "Failed with result") && began > 0:
			seconds, began = append(seconds, at-began), 0
		}
	}
	return seconds
}
