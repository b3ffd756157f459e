package control

import (
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func TestListen(t *testing.T) {
	// With the widest umask, nothing but the mode of the socket keeps others out.
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "control")
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.File.Close()
	if mode := modeOf(t, path); mode.Perm()&0o117 != 0 || mode.Type() != fs.ModeSocket {
		t.Errorf("mode: got %v, want nothing for others", mode)
	}
	if gid, err := groupID(socketGroup); err == nil && os.Geteuid() == 0 {
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Perm() != withGroup || int(info.Sys().(*syscall.Stat_t).Gid) != gid {
			t.Errorf("got mode %v, error %v, want %o and group adm", info.Mode(), err, withGroup)
		}
	}
	if got := PathOf(s.File); got != path {
		t.Errorf("path: got %q, want %q", got, path)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("second: got error %v, want that another listens", err)
	}

	// The next program has the descriptor, and removes the file at the end.
	next, ok := Adopt(s.File, path)
	if !ok {
		t.Fatal("got nothing adopted, want the socket")
	}
	if _, ok := Adopt(s.File, path+"x"); ok {
		t.Error("another path: got it adopted, want nothing")
	}
	if err := next.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("removed: got error %v, want that there is no file", err)
	}
	if err := s.Remove(); err != nil {
		t.Errorf("removed again: got %v, want no error", err)
	}
}

// TestASocketIsTheOwnersFromItsFirstMoment: without the group, the mode stays that of bind(2).
func TestASocketIsTheOwnersFromItsFirstMoment(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "control")
	s, err := listenFor(path, "no such group")
	if err != nil {
		t.Fatal(err)
	}
	defer s.File.Close()
	if mode := modeOf(t, path); mode.Perm() != ownerOnly {
		t.Errorf("got %v, want %o", mode, ownerOnly)
	}
}

// TestListenReplacesAStaleSocketOnly, and never removes what somebody else has put there.
func TestListenReplacesAStaleSocketOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	old, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = old.File.Close()
	s, err := Listen(path)
	if err != nil {
		t.Fatalf("stale socket: got %v, want it replaced", err)
	}
	defer s.File.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.File.Close()
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	_ = modeOf(t, path) // that of the other is still there
	for name, make := range map[string]func(string) error{
		"file":          func(p string) error { return os.WriteFile(p, []byte("x"), 0o600) },
		"directory":     func(p string) error { return os.Mkdir(p, 0o700) },
		"symbolic link": func(p string) error { return os.Symlink("/nowhere", p) },
	} {
		path := filepath.Join(t.TempDir(), "control")
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		before := modeOf(t, path)
		if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("%s: got error %v, want that it is no socket", name, err)
		}
		if after := modeOf(t, path); after != before {
			t.Errorf("%s: got %v, want it left as it was", name, after)
		}
	}
	if _, err := Listen(filepath.Join(t.TempDir(), "none", "control")); err == nil {
		t.Error("no directory: got no error, want one")
	}
}

// TestAListeningSocketServes: what Listen makes is what Serve takes.
func TestAListeningSocketServes(t *testing.T) {
	s, err := Listen(filepath.Join(t.TempDir(), "control"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.File.Close()
	ln, err := net.FileListener(s.File)
	if err != nil {
		t.Fatal(err)
	}
	r := serve(t, &fakeDaemon{}, nil, nil)
	ended := make(chan error)
	go func() { ended <- r.Serve(ln) }()
	r.path = s.path
	if resp, _ := r.ask(t, http.MethodGet, "/v1/status", false); resp.StatusCode != 200 {
		t.Errorf("got %d, want 200", resp.StatusCode)
	}
	_ = r.Close()
	if err := <-ended; err != nil {
		t.Errorf("got %v, want no error", err)
	}
	_ = modeOf(t, s.path) // it stays for the next program
}
