package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/cmd/tcpmux/generator"
	"tcpmux/config"
)

func TestCheckWarnsOfWhatTheUnitLacks(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"as many as outlive a restart", "limits.clients = 31768", ""},
		{"more", "limits.clients = 31769", "warning: limits.clients is 31769: for that many clients to outlive a restart (survive), the unit needs LimitNOFILE=65538; the packaged one has 65536\n"},
		{"nobody does", "limits.clients = 40000\nsurvive = false", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, "a.toml", "record.file = \"records.log\"\n"+c.text+"\n")
			if status, _, stderr := clitest.Outcome(t, tcpmux(t, "check", "--quiet", path)); status != 0 || stderr != c.want {
				t.Errorf("got status %d and %q, want 0 and %q", status, stderr, c.want)
			}
		})
	}
}

// TestThePackagedUnitHasTheLimitThatCheckNames.
func TestThePackagedUnitHasTheLimitThatCheckNames(t *testing.T) {
	unit, err := os.ReadFile("../../packaging/systemd/tcpmux.service")
	if want := "\nLimitNOFILE=65536\n"; err != nil || packagedFiles != 65536 || !strings.Contains(string(unit), want) {
		t.Errorf("got %v and %q, want %q in it, as packagedFiles is %d", err, unit, want, packagedFiles)
	}
}

// TestANetworkThatTheServiceLacks is said as long as the generator has not given it one.
func TestANetworkThatTheServiceLacks(t *testing.T) {
	cfg := config.Default()
	cfg.Path = config.DefaultPath
	l := &cfg.Listeners[0]
	l.Service, l.Proxy.To = config.ServiceProxy, []string{"192.0.2.1:80"}
	dir := t.TempDir()
	if got := networkWarnings(cfg, filepath.Join(dir, "no-systemd")); got != nil {
		t.Errorf("without systemd: got %q", got)
	}
	if got := networkWarnings(cfg, dir); len(got) != 1 || !strings.Contains(got[0], "systemctl daemon-reload") {
		t.Errorf("before a reload: got %q, want a line that says what to do", got)
	}
	units, err := generator.Units(cfg, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		path := filepath.Join(dir, u.Path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(u.Text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if got := networkWarnings(cfg, dir); got != nil {
		t.Errorf("after a reload: got %q", got)
	}
	l.Proxy.To = append(l.Proxy.To, "unix:/run/app.sock")
	if got := networkWarnings(cfg, dir); got != nil {
		t.Errorf("with a unix socket too: got %q", got)
	}
	l.Proxy.To = append(l.Proxy.To, "192.0.2.2:80")
	if got := networkWarnings(cfg, dir); len(got) != 1 || !strings.Contains(got[0], "systemctl daemon-reload") {
		t.Errorf("with another address, before a reload: got %q, want a line that says what to do", got)
	}
	l.Proxy.To = []string{"unix:/run/app.sock"}
	if got := networkWarnings(cfg, t.TempDir()); got != nil {
		t.Errorf("with a unix socket alone: got %q", got)
	}
}
