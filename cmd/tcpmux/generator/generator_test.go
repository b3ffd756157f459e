package generator

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tcpmux/config"
)

var update = flag.Bool("update", false, "write what is generated into testdata")

// generate runs the generator on a file and returns what it has written: each file's name and text.
func generate(t *testing.T, path string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	runErr := Run(path, dir, true)
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		b.WriteString("== " + strings.TrimPrefix(name, dir+"/") + "\n" + string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), runErr
}

func TestGolden(t *testing.T) {
	for _, name := range []string{"default", "address", "listeners", "no-main", "dropins", "no-main-dropins", "status", "unix", "proxy", "proxy-name", "proxy-unix"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name)
			got, err := generate(t, path+".toml")
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(path+".want", []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path + ".want")
			if err != nil || got != string(want) {
				t.Errorf("got\n%s\nwant\n%s (%v)", got, want, err)
			}
		})
	}
}

func TestNothingIsWritten(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string // parts of the error, each on a line of its own; none: no error
	}{
		{"no TOML", "address = \n", []string{"not TOML"}},
		{"several faults", "address = 5\nbacklog = 0\nx = 1\n", []string{":1: address is 5", ":2: backlog is 0", ":3: x is not a key"}},
		{"a fault that has nothing to do with addresses", "[log]\nlevel = \"loud\"\n", []string{":2: log.level"}},
		{"port 0", `address = ["127.0.0.1:0", "127.0.0.1:1"]` + "\n", []string{`address "127.0.0.1:0": systemd opens no port 0`}},
		{"port 0 of the status page", "[status]\naddress = \"[::1]:0\"\n", []string{`[status]: address "[::1]:0": systemd opens no port 0`}},
		{"port 0 of a listener", "[[listener]]\nname = \"a\"\naddress = \"[::1]:0\"\n", []string{`listener "a": address "[::1]:0": systemd opens no port 0`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tcpmux.toml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			written, err := generate(t, path)
			if written != "" || err == nil {
				t.Fatalf("got %q and error %v, want nothing and an error", written, err)
			}
			if !errors.Is(err, config.ErrInvalid) {
				t.Errorf("got %v, want an error of the configuration", err)
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(c.want) {
				t.Fatalf("got %q, want %d lines", lines, len(c.want))
			}
			for i, want := range c.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("line %d: got %q, want %q in it", i+1, lines[i], want)
				}
			}
		})
	}
}

// TestWithoutIPv6AllAddressesAreThoseOfIPv4: a socket unit that systemd cannot open one port of
// opens none.
func TestWithoutIPv6AllAddressesAreThoseOfIPv4(t *testing.T) {
	cfg := config.Default()
	cfg.Listeners[0].Address = []string{"0.0.0.0:12345", "[::]:12345", "[::]:12346"}
	for ipv6, want := range map[bool]string{
		true: "ListenStream=\nListenStream=0.0.0.0:12345\nListenStream=[::]:12345\nListenStream=[::]:12346\n",
		// What was asked for by itself is.
		false: "ListenStream=\nListenStream=0.0.0.0:12345\nListenStream=[::]:12346\n",
	} {
		units, err := Units(cfg, ipv6)
		if err != nil || len(units) != 1 || !strings.Contains(units[0].Text, want) {
			t.Errorf("IPv6 %v: got %v and error %v, want %q", ipv6, units, err, want)
		}
	}
}

func TestNoFileAsksForNothing(t *testing.T) {
	if written, err := generate(t, filepath.Join(t.TempDir(), "none.toml")); written != "" || err != nil {
		t.Errorf("got %q and error %v, want nothing and none", written, err)
	}
}

func TestCannotWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Run("testdata/default.toml", file, true); err == nil || errors.Is(err, config.ErrInvalid) {
		t.Errorf("got %v, want an error that does not blame the configuration", err)
	}
}

// What Load would never let through must not reach a unit either.
func TestHostileValuesAreRefused(t *testing.T) {
	good := config.Listener{Name: "good", Address: []string{"127.0.0.1:1"}, Backlog: 1}
	for _, c := range []struct{ name, listener, address string }{
		{"line in a name", "a\nExecStartPre=/bin/sh", "127.0.0.1:1"},
		{"path in a name", "../../etc/x", "127.0.0.1:1"},
		{"specifier in a name", "%h", "127.0.0.1:1"},
		{"empty name", "", "127.0.0.1:1"},
		{"line in an address", "a", "127.0.0.1:1\nExecStartPre=/bin/sh"},
		{"line in an interface", "a", "[fe80::1%e\nListenStream=1]:1"},
		{"specifier in an interface", "a", "[fe80::1%%h]:1"},
		{"path for an address", "a", "/run/socket"},
		{"line in a path", "a", "unix:/run/x\nExecStartPre=/bin/sh"},
		{"specifier in a path", "a", "unix:/run/%h"},
		{"blank in a path", "a", "unix:/run/a b"},
		{"backslash in a path", "a", "unix:/run/a\\"},
		{"no address", "a", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			hostile := config.Listener{Name: c.listener, Address: []string{c.address}, Backlog: 1}
			for _, list := range [][]config.Listener{{hostile}, {good, hostile}} {
				if units, err := Units(config.Config{Listeners: list}, true); err == nil || units != nil {
					t.Errorf("got %q and error %v, want no unit and an error", units, err)
				}
			}
		})
	}
}

// TestUnitsNameTheFileOfTheirListener: systemctl says that a daemon-reload is due once that file
// has been changed.
func TestUnitsNameTheFileOfTheirListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tcpmux.toml")
	dropIn := filepath.Join(config.DropInDir(path), "a.toml")
	text := []byte("[[listener]]\nname = \"a\"\naddress = \":7000\"\n")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Mkdir(filepath.Dir(dropIn), 0o700), os.WriteFile(dropIn, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := Run(path, dir, true); err != nil {
		t.Fatal(err)
	}
	for unit, file := range map[string]string{"tcpmux.socket.d/50-tcpmux.conf": path, "tcpmux-a.socket": dropIn} {
		got, err := os.ReadFile(filepath.Join(dir, unit))
		if err != nil || !strings.Contains(string(got), "\nSourcePath="+file+"\n") {
			t.Errorf("%s: got %q and %v, want SourcePath=%s", unit, got, err, file)
		}
	}
}

// A path is the one foreign text in a unit: it must stay in its comment.
func TestHostilePath(t *testing.T) {
	cfg := config.Default()
	cfg.Path = "/etc/%h\n[Socket]\nListenStream=1\\"
	cfg.Listeners[0].Source = cfg.Path
	cfg.Listeners = append(cfg.Listeners, config.Listener{Name: "other", Address: []string{"127.0.0.1:2"}, Backlog: 7, Source: cfg.Path + "/x"})
	units, err := Units(cfg, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		for line := range strings.Lines(u.Text) {
			if !strings.HasPrefix(line, "#") && strings.ContainsAny(line, "%\\") || strings.Contains(line, "=1\n") {
				t.Errorf("%s: got line %q, want the path in a comment only", u.Path, line)
			}
		}
	}
}

// Thousands of listeners are more than anybody has, and still no reason to hold up a boot.
func TestSizeIsBounded(t *testing.T) {
	cfg := config.Default()
	for i := range 3000 {
		name := "listener-" + strings.Repeat("x", i%20) + string(rune('a'+i%26))
		cfg.Listeners = append(cfg.Listeners, config.Listener{Name: name, Address: []string{"127.0.0.1:1"}, Backlog: 1})
	}
	units, err := Units(cfg, true)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, u := range units {
		total += len(u.Text)
	}
	if total > 32<<20 {
		t.Errorf("got %d bytes, want at most 32 MiB", total)
	}
}

// What is told later must leave the address of the package alone.
func TestTellLater(t *testing.T) {
	dir := t.TempDir()
	if err := TellLater("/etc/tcpmux.toml", dir); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "tcpmux.socket.d/50-tcpmux.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "\nExecStartPre=-/usr/bin/tcpmux check --quiet --config /etc/tcpmux.toml\n"; !strings.Contains(string(got), want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
	if strings.Contains(string(got), "ListenStream") {
		t.Errorf("got %q, want no address", got)
	}
	for _, path := range []string{"relative.toml", "/etc/a b.toml", "/etc/%h.toml", "/etc/a\nb"} {
		if err := TellLater(path, dir); err == nil {
			t.Errorf("got no error for %q, want one", path)
		}
	}
}

// At boot the file system that a program lies on may not be mounted yet: its port is opened all the
// same.
func TestAProgramThatIsNotThereYetKeepsNoPortClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tcpmux.toml")
	text := "[[listener]]\nname = \"later\"\naddress = \":12347\"\nexec = [\"/not/yet/mounted\"]\nexec_user = \"not-yet\"\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := generate(t, path)
	if err != nil || !strings.Contains(got, "12347") {
		t.Errorf("got %q, %v, want a socket on port 12347", got, err)
	}
}
