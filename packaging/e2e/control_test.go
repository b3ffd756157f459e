//go:build e2e

package e2e

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const controlSocket = "/run/tcpmux/control"

// as runs a command as a user of no group but one; "": of none.
func (r *rig) as(group string, args ...string) (string, error) {
	groups := "--clear-groups"
	if group != "" {
		groups = "--groups=" + group
	}
	return r.try(append([]string{"setpriv", "--reuid=nobody", "--regid=nogroup", groups}, args...)...)
}

// TestControlSocketIsForThoseWhoMay: group adm reads, root changes, and others cannot even connect.
func TestControlSocketIsForThoseWhoMay(t *testing.T) {
	r := serving(t)
	r.mustVisit()
	if got := strings.TrimSpace(r.run("stat", "-c", "%G %a", controlSocket)); got != "adm 660" {
		t.Errorf("%s: got %s, want adm 660", controlSocket, got)
	}
	if out, err := r.as("adm", "tcpmux", "status", "--json"); err != nil || !strings.Contains(out, `"phase"`) {
		t.Errorf("status as adm: got %v %q, want the status", err, out)
	}
	if out, err := r.as("adm", "tcpmux", "rotate"); err == nil || !strings.Contains(out, "root") {
		t.Errorf("rotate as adm: got %v %q, want that it takes root", err, out)
	}
	if out, err := r.as("", "tcpmux", "status"); err == nil || !strings.Contains(out, "group adm") {
		t.Errorf("status as nobody: got %v %q, want who may", err, out)
	}
	r.run("tcpmux", "undrain", "tcpmux")
	if out, err := r.try("setpriv", "--reuid=tcpmux", "--regid=tcpmux", "--groups=adm", "tcpmux", "drain", "tcpmux"); err != nil {
		t.Errorf("drain as the daemon's user: got %v %q, want success", err, out)
	}
}

// TestControlSocketOutlivesTheDaemon: a command that comes while the daemon restarts or has crashed
// is answered, and after a stop it is said that nobody runs.
func TestControlSocketOutlivesTheDaemon(t *testing.T) {
	r := serving(t)
	r.mustVisit()
	r.explain("Failed with result", "killed")
	for _, end := range [][]string{
		{"systemctl", "restart", "tcpmux.service"},
		{"systemctl", "kill", "-s", "KILL", "tcpmux.service"},
		{"systemctl", "stop", "tcpmux.service"},
		{"systemctl", "restart", "tcpmux.socket"},
		{"systemctl", "restart", "tcpmux.socket"},
		{"systemctl", "restart", "tcpmux.socket"},
	} {
		before := r.mainPID()
		r.run(end...)
		if out, err := r.try("tcpmux", "status", "--json"); err != nil || strings.Contains(out, `"pid": `+before+",") {
			t.Errorf("after %q: got %v %q, want the status of another process than %s", end, err, out, before)
		}
	}
	r.mustVisit()
	r.run("systemctl", "stop", "tcpmux.socket")
	r.wantState("tcpmux-control.socket", "inactive")
	if out, err := r.try("tcpmux", "status"); err == nil || !strings.Contains(out, "not running") {
		t.Errorf("after the stop: got %v %q, want that it is not running", err, out)
	}
}

// TestStatusPage: systemd opens it.
func TestStatusPage(t *testing.T) {
	r := installed(t)
	r.edit(toml, "address = []", `address = "127.0.0.1:9464"`)
	r.run("systemctl", "daemon-reload")
	r.run("systemctl", "start", "tcpmux.socket")
	r.wantState("tcpmux-status.socket", "active")
	conn, err := r.net.dial("127.0.0.1:9464") // which starts the service
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("/readyz: got %d %q, %v, want 200", resp.StatusCode, text, err)
	}
}
