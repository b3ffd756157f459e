package listen

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/systemd"
)

// unixListener is a configured listener of a unix socket.
func unixListener(path string) []config.Listener {
	return listeners([]string{"tcpmux", "unix:" + path})
}

func TestAUnixSocketIsBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	cfg := unixListener(path)
	cfg[0].Mode = 0o606
	lns, err := listen(t, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o606 {
		t.Errorf("got %v and %v, want the mode %o", info.Mode(), err, 0o606)
	}
	if got, want := lns[0].String(), `listener "tcpmux" (unix:`+path+`)`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := lns[0].Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("closed: got error %v, want no file", err)
	}
}

// TestAPassedUnixSocketKeepsItsFile: it is systemd's. One that the program before has made, in
// whose place we are, is ours to remove.
func TestAPassedUnixSocketKeepsItsFile(t *testing.T) {
	for _, c := range []struct {
		name     string
		ours     bool
		made     bool // by the program before
		want     bool // whether the file stays
		leftOver bool // to a next program
	}{
		{"systemd's", false, false, true, false},
		{"that of systemd's, after an upgrade", true, false, true, false},
		{"made by the program before", true, true, false, false},
		{"made by the program before, for the next", true, true, true, true},
		{"systemd's, with a name of ours", false, true, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.sock")
			first, err := listen(t, unixListener(path), nil)
			if err != nil {
				t.Fatal(err)
			}
			socket := systemd.Socket{Name: "tcpmux", File: first[0].File, Ours: c.ours}
			if c.made {
				socket.Name = first[0].PassedName()
			}
			if first[0].Inherited = true; first[0].PassedName() == "tcpmux" {
				t.Errorf("got %q, want a name that says who has made the socket", first[0].PassedName())
			}
			lns, err := listen(t, unixListener(path), []systemd.Socket{socket})
			if err != nil || len(lns) != 1 || lns[0].Addr.Path != path || lns[0].Name != "tcpmux" {
				t.Fatalf("got %v and %v, want the socket at its path", lns, err)
			}
			if c.leftOver {
				lns[0].Inherited = true
			}
			if err := lns[0].Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); (err == nil) != c.want {
				t.Errorf("got error %v, want that the file stays: %v", err, c.want)
			}
		})
	}
}

// TestTheNextProgramLeavesWhatHasTakenThePlace of the socket that the one before has made.
func TestTheNextProgramLeavesWhatHasTakenThePlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	first, err := listen(t, unixListener(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	socket := systemd.Socket{Name: first[0].PassedName(), File: first[0].File, Ours: true}
	next, err := listen(t, unixListener(path), []systemd.Socket{socket})
	if err != nil || len(next) != 1 {
		t.Fatalf("got %v and %v, want the socket", next, err)
	}
	if err := next[0].Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("got %v, want the file of the other", err)
	}
}

func TestErrorsOfUnixSockets(t *testing.T) {
	dir := t.TempDir()
	file, taken := filepath.Join(dir, "file"), filepath.Join(dir, "taken")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("unix", taken)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, c := range []struct {
		name, path, group, want string
		misfit                  bool
	}{
		{"a file", file, "", "exists and is no socket", false},
		{"another program's", taken, "", "another process listens", false},
		{"no directory", filepath.Join(dir, "no", "x"), "", "there is no such directory", false},
		{"no such group", filepath.Join(dir, "x"), "nosuchgroup", `group "nosuchgroup": there is none of that name; groupadd creates one`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := unixListener(c.path)
			cfg[0].Group = c.group
			_, err := listen(t, cfg, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, config.ErrInvalid) != c.misfit {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if got, err := os.ReadFile(file); err != nil || len(got) != 0 {
		t.Errorf("got %q and %v, want the file as it was", got, err)
	}
}
