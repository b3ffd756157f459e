//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
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
	r.explain("Failed with result", "killed", "Failed to start tcpmux")
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
	for path, want := range map[string]string{
		"/readyz":    "ok", // the first of them starts the service
		"/healthz":   "ok",
		"/":          "<!DOCTYPE html>",
		"/v1/status": `"phase":"serving"`,
		"/metrics":   "\ntcpmux_build_info{",
	} {
		if code, body := r.page(path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: got %d %q, want 200 and %q", path, code, body, want)
		}
	}
	if code, body := r.page("/v1/tail"); code != http.StatusNotFound {
		t.Errorf("/v1/tail: got %d %q, want 404", code, body)
	}
}

// page gets a path of the status page.
func (r *rig) page(path string) (code int, body string) {
	r.t.Helper()
	conn, err := r.net.dial("127.0.0.1:9464")
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestTailGoesOnWithTheNextDaemon: a member of group adm follows the records over a restart and a
// crash, without a command in between.
func TestTailGoesOnWithTheNextDaemon(t *testing.T) {
	r := serving(t)
	r.explain("Failed with result", "killed", "Failed to start tcpmux")
	r.mustVisit()
	r.write("/run/seen", "") // systemd-run returns before the unit has opened it
	r.run("systemd-run", "--quiet", "--unit=watcher", "-p", "User=nobody", "-p", "SupplementaryGroups=adm",
		"-p", "StandardOutput=file:/run/seen", "tcpmux", "tail", "--listener", "tcpmux")
	t.Cleanup(func() { _, _ = r.try("systemctl", "stop", "watcher.service") })
	r.await("tail of the first daemon", r.seesAnother)
	for _, end := range [][]string{
		{"systemctl", "restart", "tcpmux.service"},
		{"systemctl", "kill", "-s", "KILL", "tcpmux.service"},
		{"systemctl", "restart", "tcpmux.socket"},
	} {
		r.run(end...)
		r.await("tail after "+strings.Join(end, " "), r.seesAnother)
	}
	if got := r.show("watcher.service", "NRestarts"); got != "0" {
		t.Errorf("tail: got %s restarts, want 0", got)
	}
}

// seesAnother makes a visit and reports whether the tail in /run/seen has grown since it began.
func (r *rig) seesAnother() bool {
	was := len(r.read("/run/seen"))
	r.mustVisit()
	return len(r.read("/run/seen")) > was
}

// TestKillAfterARestart: a session has the same name in the next process, which ends it.
func TestKillAfterARestart(t *testing.T) {
	r := serving(t)
	conn, err := r.net.dial(port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(banner))); err != nil {
		t.Fatal(err)
	}
	id := r.onlySession()
	r.run("systemctl", "restart", "tcpmux.service")
	if got := r.onlySession(); got != id {
		t.Errorf("session after a restart: got %s, want %s", got, id)
	}
	if out, err := r.as("adm", "tcpmux", "kill", id); err == nil {
		t.Errorf("kill as adm: got %q, want a refusal", out)
	}
	r.run("tcpmux", "kill", id)
	if rest, err := io.ReadAll(conn); err != nil || len(rest) != 0 {
		t.Errorf("killed client: got %q, %v, want the end", rest, err)
	}
	if out, err := r.try("tcpmux", "show", id); err == nil || !strings.Contains(out, "not found") {
		t.Errorf("show: got %v %q, want that it is not found", err, out)
	}
	r.await("close record", func() bool { return strings.Contains(r.read(records), ": killed, 0 records, 0 bytes\n") })
}

// onlySession returns the name of the only session.
func (r *rig) onlySession() string {
	r.t.Helper()
	var got struct{ Sessions []struct{ ID string } }
	out := r.run("tcpmux", "sessions", "--json")
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got.Sessions) != 1 {
		r.t.Fatalf("sessions: got %q, %v, want one", out, err)
	}
	return got.Sessions[0].ID
}
