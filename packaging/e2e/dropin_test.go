//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

const dropIn = "/etc/tcpmux.d/scanners.toml"

// A package brings a listener. It is served after the commands for ports, and its settings change
// with a reload.
func TestDropIn(t *testing.T) {
	r := serving(t)
	r.mustVisit()
	r.write(dropIn, "[[listener]]\nname = \"scanners\"\naddress = \"127.0.0.1:12346\"\nbanner = \"{listener}\\n\"\n")
	r.reload()
	said := r.journal()
	for _, want := range []string{`listener \"scanners\": name`, "file=" + dropIn, `by="systemctl daemon-reload && systemctl restart tcpmux.socket"`, "drop_ins=1"} {
		if !strings.Contains(said, want) {
			t.Errorf("journal: got no %s, want it", want)
		}
	}
	r.mustRefuse("127.0.0.1:12346")
	r.resocket()
	r.visitAt("127.0.0.1:12346", "scanners\n")
	if got := r.show("tcpmux-scanners.socket", "SourcePath"); got != dropIn {
		t.Errorf("SourcePath: got %q, want %q", got, dropIn)
	}

	r.edit(dropIn, `"{listener}\n"`, `"hello\n"`)
	r.reload()
	r.visitAt("127.0.0.1:12346", "hello\n")
	if got := r.show("tcpmux-scanners.socket", "NeedDaemonReload"); got != "yes" {
		t.Errorf("NeedDaemonReload after an edit: got %q, want yes", got)
	}

	r.reboot()
	r.visitAt("127.0.0.1:12346", "hello\n")
	r.mustVisit()

	r.run("rm", dropIn)
	r.resocket()
	r.mustRefuse("127.0.0.1:12346")
	r.mustVisit()
}

// A drop-in with an error changes nothing, and systemd and the daemon name it.
func TestBrokenDropIn(t *testing.T) {
	r := serving(t)
	r.explain(`tcpmux\.d/scanners\.toml`, `nothing is taken from`, `Reload failed`, `tcpmux-generator failed with exit status 1`)
	talking := r.chatters(20)
	r.write(dropIn, "[[listener]]\nname = \"scanners\"\naddress = \""+port+"\"\n")
	if out, err := r.try("systemctl", "reload", "tcpmux.service"); err == nil {
		t.Errorf("systemctl reload: got success %q, want a failure", out)
	}
	if want := dropIn + ":3: "; !strings.Contains(r.journal(), want) {
		t.Errorf("journal: got no %s, want it", want)
	}
	r.run("systemctl", "daemon-reload")
	if want := dropIn + ":3: "; !strings.Contains(r.run("journalctl", "-q", "-u", "tcpmux.socket", "-o", "cat"), want) {
		t.Errorf("journal of tcpmux.socket: got no %s, want it", want)
	}
	r.mustVisit()
	r.edit(dropIn, port, "127.0.0.1:12346")
	r.resocket()
	r.visitAt("127.0.0.1:12346", banner)
	if left, err := talking.dismiss(); left != 0 || err != nil {
		t.Errorf("talking clients: got %d ended and %v, want none", left, err)
	}
}
