package control

import (
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
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
	if g, err := user.LookupGroup(socketGroup); err == nil && os.Geteuid() == 0 {
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Perm() != socketMode || fmt.Sprint(info.Sys().(*syscall.Stat_t).Gid) != g.Gid {
			t.Errorf("got mode %v, error %v, want %o and group adm", info.Mode(), err, socketMode)
		}
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
	r.path = s.Path()
	if resp, _ := r.ask(t, http.MethodGet, "/v1/status", false); resp.StatusCode != 200 {
		t.Errorf("got %d, want 200", resp.StatusCode)
	}
	_ = r.Close()
	if err := <-ended; err != nil {
		t.Errorf("got %v, want no error", err)
	}
	_ = modeOf(t, s.Path()) // it stays for the next program
}
