package generator

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const shippedUnits = "../../../packaging/systemd"

// The generated units, beside those of the package, as systemd itself reads them.
func TestSystemdAnalyzeVerify(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		lacks(t, err.Error(), "apt-get install systemd")
	}
	for _, name := range []string{"default", "address", "listeners", "no-main", "dropins", "status", "unix", "proxy", "proxy-name", "proxy-unix"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			shipped(t, dir)
			if err := Run(filepath.Join("testdata", name+".toml"), dir, true); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(analyze, append([]string{"verify", "--man=no"}, units(t, dir)...)...)
			cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
			out, err := cmd.CombinedOutput()
			for line := range strings.Lines(string(out)) {
				// systemd speaks of this machine's other units too; an interface of
				// an example need not exist.
				if strings.Contains(line, "tcpmux") && !strings.Contains(line, "eth0") {
					t.Errorf("got %q (%v), want silence", line, err)
				}
			}
		})
	}
}

// shipped copies the units of the package, with a program that exists.
func shipped(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{mainSocket, service, "tcpmux-control.socket", "tcpmux-ports.service", "tcpmux-pause.service"} {
		text, err := os.ReadFile(filepath.Join(shippedUnits, name))
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.ReplaceAll(string(text), "=/usr/bin/tcpmux ", "=/bin/true "))
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// units are the sockets and services in dir.
func units(t *testing.T, dir string) (list []string) {
	t.Helper()
	for _, pattern := range []string{"*.socket", "*.service"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, found...)
	}
	return list
}

// lacks ends a test for want of what this machine does not have: in CI by a failure, as nothing may
// pass there in silence.
func lacks(t *testing.T, what, how string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s: %s", what, how)
	}
	t.Skipf("%s: %s", what, how)
}
