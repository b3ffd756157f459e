package unixsocket

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func statOf(t *testing.T, path string) (fs.FileMode, *syscall.Stat_t) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode(), info.Sys().(*syscall.Stat_t)
}

// open is Listen, which must succeed.
func open(t *testing.T, o Options) *Socket {
	t.Helper()
	o.Backlog = 10
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.File.Close() })
	return s
}

func TestModeAndGroup(t *testing.T) {
	// With the widest umask, nothing but the mode of the socket keeps others out.
	defer syscall.Umask(syscall.Umask(0))
	for _, c := range []struct {
		name string
		opt  Options
		want fs.FileMode
		gid  string // the name of the group; "": the process's
	}{
		{"for all", Options{Mode: 0o666}, 0o666, ""},
		{"for the group", Options{Mode: 0o660}, 0o660, ""},
		{"for a group", Options{Mode: 0o660, Group: "daemon"}, 0o660, "daemon"},
		{"for the owner", Options{Mode: 0o600}, 0o600, ""},
		{"for a group that is not there", Options{Mode: 0o660, Group: "no such group", Lenient: true}, 0o600, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.gid != "" && os.Geteuid() != 0 {
				t.Skip("only root can give a file to any group")
			}
			c.opt.Path = filepath.Join(t.TempDir(), "x.sock")
			s := open(t, c.opt)
			mode, st := statOf(t, c.opt.Path)
			gid := os.Getegid()
			if c.gid != "" {
				var err error
				if gid, err = (Options{Group: c.gid}).groupID(); err != nil {
					t.Fatal(err)
				}
			}
			if mode.Perm() != c.want || mode.Type() != fs.ModeSocket || int(st.Gid) != gid {
				t.Errorf("got mode %v and group %d, want %v and %d", mode, st.Gid, c.want, gid)
			}
			if got := PathOf(s.File); got != c.opt.Path || s.Path() != got {
				t.Errorf("path: got %q, want %q", got, c.opt.Path)
			}
		})
	}
	path := filepath.Join(t.TempDir(), "x.sock")
	if _, err := Listen(Options{Path: path, Mode: 0o660, Group: "no such group"}); err == nil || !strings.Contains(err.Error(), `group "no such group"`) {
		t.Errorf("got %v, want that there is no such group", err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("got %v, want no file", err)
	}
}

// TestNobodyConnectsBeforeTheModeIsSet: until the file is shared, it is the owner's, and the socket
// does not listen.
func TestNobodyConnectsBeforeTheModeIsSet(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	o := Options{Path: filepath.Join(t.TempDir(), "x.sock"), Mode: 0o666}
	s, _, err := bind(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.File.Close()
	if mode, _ := statOf(t, o.Path); mode.Perm() != ownerOnly {
		t.Errorf("after bind: got %v, want %o", mode, ownerOnly)
	}
	if _, err := o.share(keepGroup); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("unix", o.Path); err == nil {
		_ = conn.Close()
		t.Error("got a connection before listen, want none")
	}
}

// TestOnlyAStaleSocketIsReplaced, and only what Listen has made is removed.
func TestOnlyAStaleSocketIsReplaced(t *testing.T) {
	o := Options{Path: filepath.Join(t.TempDir(), "x.sock"), Mode: 0o600}
	old := open(t, o)
	if _, err := Listen(o); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("second: got error %v, want that another listens", err)
	}
	_ = old.File.Close()
	s := open(t, o)
	if err := os.Remove(o.Path); err != nil {
		t.Fatal(err)
	}
	_ = open(t, o)
	if s.InPlace() {
		t.Error("got that the first is in its place, want that it is not")
	}
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	_, _ = statOf(t, o.Path) // that of the other is still there
	for name, make := range map[string]func(string) error{
		"file":          func(p string) error { return os.WriteFile(p, []byte("x"), 0o600) },
		"directory":     func(p string) error { return os.Mkdir(p, 0o700) },
		"symbolic link": func(p string) error { return os.Symlink(o.Path, p) },
		"FIFO":          func(p string) error { return syscall.Mkfifo(p, 0o600) },
	} {
		path := filepath.Join(t.TempDir(), "x.sock")
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		before, was := statOf(t, path)
		if _, err := Listen(Options{Path: path, Mode: 0o600}); err == nil || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("%s: got error %v, want that it is no socket", name, err)
		}
		if after, is := statOf(t, path); after != before || is.Ino != was.Ino {
			t.Errorf("%s: got %v, want it left as it was", name, after)
		}
	}
	if _, err := Listen(Options{Path: filepath.Join(t.TempDir(), "none", "x.sock")}); err == nil {
		t.Error("no directory: got no error, want one")
	}
}

// TestADatagramSocketStays: somebody may be at work on it.
func TestADatagramSocketStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	other, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := Listen(Options{Path: path, Mode: 0o600}); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("got error %v, want that another listens", err)
	}
	_, _ = statOf(t, path)
}

// TestASocketIsLookedAtUnseen: who listens gets no client by that, and one that is about to listen
// is not stale.
func TestASocketIsLookedAtUnseen(t *testing.T) {
	o := Options{Path: filepath.Join(t.TempDir(), "x.sock"), Mode: 0o600}
	other := open(t, o)
	if _, err := Listen(o); err == nil {
		t.Fatal("got a second socket, want an error")
	}
	fd, _, err := syscall.Accept(int(other.File.Fd()))
	if err != syscall.EAGAIN {
		t.Errorf("got client %d and %v, want none", fd, err)
	}
	o.Path += "2"
	s, _, err := bind(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.File.Close()
	if _, err := Listen(o); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("bound: got error %v, want that another process has it", err)
	}
}

// TestALockKeepsNobody: every user who can read a directory can lock it.
func TestALockKeepsNobody(t *testing.T) {
	defer func(d time.Duration) { lockPatience = d }(lockPatience)
	lockPatience = time.Millisecond
	dir := t.TempDir()
	unlock, err := lockDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	_ = open(t, Options{Path: filepath.Join(dir, "x.sock"), Mode: 0o600})
}

// TestWhatHasTakenThePlaceStays, whatever it is.
func TestWhatHasTakenThePlaceStays(t *testing.T) {
	o := Options{Path: filepath.Join(t.TempDir(), "x.sock"), Mode: 0o600}
	s, fd, err := bind(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(o.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.begin(fd, o, keepGroup); err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("got error %v, want that it was replaced", err)
	}
	_, _ = statOf(t, o.Path)
	if s.InPlace() {
		t.Error("got that the socket is in its place, want that it is not")
	}
}

// TestTheNextProgramRemovesTheFile, as the descriptor is passed on to it.
func TestTheNextProgramRemovesTheFile(t *testing.T) {
	s := open(t, Options{Path: filepath.Join(t.TempDir(), "x.sock"), Mode: 0o600})
	if _, ok := Adopt(s.File, s.Path()+"x"); ok {
		t.Error("another path: got it adopted, want nothing")
	}
	next, ok := Adopt(s.File, s.Path())
	if !ok {
		t.Fatal("got nothing adopted, want the socket")
	}
	if err := next.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(s.Path()); !os.IsNotExist(err) {
		t.Errorf("removed: got error %v, want that there is no file", err)
	}
	if err := s.Remove(); err != nil {
		t.Errorf("removed again: got %v, want no error", err)
	}
}
