//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"
)

// wantVersion compares the installed version with that of a package.
func (r *rig) wantVersion(want string) {
	r.t.Helper()
	got := strings.TrimSpace(r.run("dpkg-query", "-W", "-f", "${Version}", "tcpmux"))
	if (got == "0.0.1") != (want == oldDeb) {
		r.t.Errorf("installed version: got %s, want that of %s", got, want)
	}
}

// exchange replaces one version by another while clients talk and connect. No client may be
// refused, and nothing may be lost.
func exchange(t *testing.T, from, to string) {
	t.Helper()
	r := boot(t)
	r.install(from)
	r.run("systemctl", "start", "tcpmux.socket")
	talking := r.chatters(50)
	coming := r.newcomers()
	was := r.mainPID()
	r.install(to)
	r.wantVersion(to)
	if got := r.mainPID(); got == was {
		t.Errorf("daemon: got process %s as before, want the new version's", got)
	}
	if err := coming.dismiss(); err != nil {
		t.Errorf("newcomers: %v", err)
	}
	if _, err := talking.dismiss(); err != nil {
		t.Errorf("talking clients: %v", err)
	}
	r.mustVisit()
}

func TestUpgradeUnderClients(t *testing.T)   { exchange(t, oldDeb, newDeb) }
func TestDowngradeUnderClients(t *testing.T) { exchange(t, newDeb, oldDeb) }

// An upgrade does not open a closed port, and does not enable a disabled one.
func TestUpgradeKeepsTheAdministratorsChoice(t *testing.T) {
	r := boot(t)
	r.install(oldDeb)
	r.run("systemctl", "disable", "tcpmux.socket")
	r.edit(toml, `backlog = 4096`, `backlog = 99`)
	r.install(newDeb)
	if got := r.show("tcpmux.socket", "UnitFileState"); got != "disabled" {
		t.Errorf("tcpmux.socket: got %s, want disabled", got)
	}
	r.wantState("tcpmux.socket", "inactive")
	if got := r.read(toml); !strings.Contains(got, "backlog = 99") {
		t.Error("the changed configuration: it is lost")
	}
}

func TestRemoveReinstallPurge(t *testing.T) {
	r := serving(t)
	r.mustVisit()
	r.edit(toml, `Welcome connect!`, `Hello`)
	r.run("dpkg", "--remove", "tcpmux")
	r.mustRefuse(port)
	r.wantState("tcpmux.socket", "inactive")
	r.wantState("tcpmux.service", "inactive")

	r.install(newDeb)
	r.run("systemctl", "start", "tcpmux.socket")
	k, err := r.call(port, "Hello\r\n")
	if err == nil {
		err = k.bye()
	}
	if err != nil {
		t.Errorf("reinstalled with a changed configuration: %v", err)
	}

	said := r.run("dpkg", "--purge", "tcpmux")
	if strings.Contains(said, "warning") || !strings.Contains(said, "tcpmux: /var/log/tcpmux and the user tcpmux are kept; to remove them: ") {
		t.Errorf("purge: got %q, want what it keeps, and no warning", said)
	}
	r.mustRefuse(port)
	if got := r.traces(); got != "" {
		t.Errorf("purged: got traces\n%s", got)
	}
	if got := len(r.entries()); got == 0 {
		t.Error("purged: the records are gone")
	}
}

func TestPurgeWithoutRecordsLeavesNothing(t *testing.T) {
	r := installed(t)
	if said := r.run("dpkg", "--purge", "tcpmux"); strings.Contains(said, "warning") || strings.Contains(said, "kept") {
		t.Errorf("purge: got %q, want no warning, and that nothing is kept", said)
	}
	if _, err := os.Stat(r.path("/var/log/tcpmux")); !os.IsNotExist(err) {
		t.Errorf("/var/log/tcpmux: got %v, want it gone", err)
	}
	if out, err := r.try("getent", "passwd", "tcpmux"); err == nil {
		t.Errorf("user: got %q, want none", out)
	}
	if got := r.traces(); got != "" {
		t.Errorf("purged: got traces\n%s", got)
	}
}

// traces returns files with our name, except records, the test's copy of the package, and what dpkg
// logs.
func (r *rig) traces() string {
	r.t.Helper()
	return r.run("find", "/etc", "/usr", "/var", "/run", "-xdev", "-name", "*tcpmux*",
		"-not", "-path", "/var/log/tcpmux*")
}
