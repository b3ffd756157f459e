package recordfile

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNobodyElseCanTakeTheLock: a user that can read the directory cannot lock a daemon out of its
// own file.
func TestNobodyElseCanTakeTheLock(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	for name, left := range map[string]fs.FileMode{"a new one": 0, "one that others may read, of a daemon before": 0o644} {
		opt := options(t)
		path := hidden(opt.Path, ".lock")
		if left != 0 {
			if err := os.WriteFile(path, []byte("4194305\n"), left); err != nil {
				t.Fatal(err)
			}
		}
		f := open(t, opt)
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: got mode %v, %v, want -rw-------", name, info.Mode(), err)
		}
		if got, want := read(t, path), strconv.Itoa(os.Getpid())+"\n"; got != want {
			t.Errorf("%s: got %q in it, want %q", name, got, want)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestAReaderCannotLock tries it as a user that can read the directory, such as a member of the
// log's group.
func TestAReaderCannotLock(t *testing.T) {
	if os.Geteuid() != 0 {
		lacks(t, "no other user to try it", "run as root")
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	opt := options(t)
	for _, dir := range []string{filepath.Dir(opt.Path), filepath.Dir(filepath.Dir(opt.Path)), filepath.Dir(filepath.Dir(filepath.Dir(opt.Path)))} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for dir := filepath.Dir(exe); dir != "/" && strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	open(t, opt)
	_, got, _ := lockedByAnother(t, hidden(opt.Path, ".lock"), &syscall.Credential{Uid: 65534, Gid: 65534})
	if !strings.HasSuffix(got, "permission denied") {
		t.Errorf("got %q, want the permission denied", got)
	}
}

// TestWhoHoldsTheLockIsNamed: another process holds the lock, one that writes the file or one that
// does not.
func TestWhoHoldsTheLockIsNamed(t *testing.T) {
	for _, c := range []struct {
		name   string
		writes bool // the lock file names the holder
		want   string
	}{
		{"another daemon", true, "open record file %[1]q: is in use by process %[3]d: two that write would overwrite each other's lines"},
		{"a stranger", false, "open record file %[1]q: lock file %[2]q: is locked by process %[3]d, which does not write the record file: end that process"},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := options(t)
			path := hidden(opt.Path, ".lock")
			// A pid that no process has.
			if err := os.WriteFile(path, []byte("4194305\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			pid, result, end := lockedByAnother(t, path, nil)
			if result != "<nil>" {
				t.Fatalf("got %q, want it locked", result)
			}
			if c.writes {
				if err := os.WriteFile(path, []byte(strconv.Itoa(pid)+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Open(opt)
			if want := fmt.Sprintf(c.want, opt.Path, path, pid); err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
			if info, err := os.Lstat(path); err != nil || info.Mode() != 0o600 {
				t.Errorf("got mode %v, %v, want -rw------- for the next time", info.Mode(), err)
			}
			end()
			write(t, open(t, opt), "free again\n")
		})
	}
}

// TestALockThatCannotBeOpenedIsNamed: something else has the name of the lock file.
func TestALockThatCannotBeOpenedIsNamed(t *testing.T) {
	for _, c := range []struct {
		name string
		put  func(path string) error
		want string
	}{
		{"a directory", func(path string) error { return os.Mkdir(path, 0o700) }, "is a directory"},
		{"a link", func(path string) error { return os.Symlink("elsewhere", path) }, "is a symbolic link: remove it"},
		{"a pipe", func(path string) error { return unix.Mkfifo(path, 0o600) }, "is not a regular file: remove it"},
	} {
		opt := options(t)
		path := hidden(opt.Path, ".lock")
		if err := c.put(path); err != nil {
			t.Fatal(err)
		}
		_, err := Open(opt)
		if want := fmt.Sprintf("open record file %q: lock file %q: %s", opt.Path, path, c.want); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", c.name, err, want)
		}
	}
}

// TestALockOfAnotherUser: a lock file that a daemon of root has left is distinguished from a
// directory without write permission.
func TestALockOfAnotherUser(t *testing.T) {
	l := lock{path: filepath.Join(t.TempDir(), ".r.log.lock")}
	denied := &fs.PathError{Op: "open", Path: l.path, Err: unix.EACCES}
	if err := l.denied(denied); err != denied {
		t.Errorf("no lock file: got %v, want %v", err, denied)
	}
	if err := os.WriteFile(l.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := l.denied(denied)
	want := fmt.Sprintf("lock file %q: permission denied, as it belongs to user %d and not to %[2]d: end what that user has writing the record file, "+
		"then remove the lock file", l.path, os.Geteuid())
	if err.Error() != want || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestTheLockIsTakenOnAFullDisk: the pid in the lock file is optional.
func TestTheLockIsTakenOnAFullDisk(t *testing.T) {
	inAProcessOfItsOwn(t, func() {
		opt := options(t)
		limitFiles(t, 0)
		open(t, opt)
		if _, err := Open(opt); err == nil {
			t.Error("the file was opened twice")
		}
	})
}

// TestTheLockIsTakenAnewAfterItsFileIsGone: no other process gets the file if its lock file was
// removed, with or without the directory.
func TestTheLockIsTakenAnewAfterItsFileIsGone(t *testing.T) {
	for name, act := range map[string]func(dir string) error{
		"the directory was removed": os.RemoveAll,
		"the directory was emptied": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "records.log")), os.Remove(filepath.Join(dir, ".records.log.lock")))
		},
		"the lock's file was removed": func(dir string) error { return os.Remove(filepath.Join(dir, ".records.log.lock")) },
	} {
		opt := options(t)
		f := open(t, opt)
		if err := act(filepath.Dir(opt.Path)); err != nil {
			t.Fatal(err)
		}
		if err := f.Follow(); err != nil {
			t.Fatal(err)
		}
		if other, err := Open(opt); err == nil {
			t.Errorf("%s: another opened the file, too", name)
			_ = other.Close()
		}
	}
}

// TestAFileThatAnotherHasIsWrittenNoMore: another process takes the lock after the lock file was
// removed.
func TestAFileThatAnotherHasIsWrittenNoMore(t *testing.T) {
	opt := options(t)
	f := open(t, opt)
	write(t, f, "ours\n")
	path := hidden(opt.Path, ".lock")
	if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	pid, result, end := lockedByAnother(t, path, nil)
	if result != "<nil>" {
		t.Fatalf("got %q, want it locked", result)
	}
	f.out.looked = f.out.looked.Add(-time.Second) // as if a second had passed
	for range 2 {
		if n, err := f.Write([]byte("both\n")); n != 0 || err == nil || !strings.Contains(err.Error(), fmt.Sprintf("by process %d,", pid)) {
			t.Errorf("got %d, %v, want nothing written and an error that names process %d", n, err, pid)
		}
	}
	end()
	write(t, f, "ours again\n")
	if got, want := read(t, opt.Path), "ours\nours again\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestALockFileThatWasRemovedMeanwhileIsNobodys covers the moment between opening the file and
// locking it.
func TestALockFileThatWasRemovedMeanwhileIsNobodys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.log")
	before, err := lockBeside(path)
	if err != nil {
		t.Fatal(err)
	}
	l := &lock{path: before.path}
	f, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	if err := before.release(); err != nil {
		t.Fatal(err)
	}
	if ours, left, err := l.hold(f); ours || left || err != nil {
		t.Errorf("got %v, %v, %v, want it to be nobody's", ours, left, err)
	}
	_ = f.Close() // it is removed
	if err := l.take(); err != nil {
		t.Fatal(err)
	}
	if _, err := lockBeside(path); err == nil {
		t.Error("two have the lock")
	}
	if err := l.release(); err != nil {
		t.Error(err)
	}
}

// lockerOf names the file that TestMain locks, for a process that does nothing else.
const lockerOf = "RECORD_TEST_LOCK"

// lockUntilTheEnd opens a file for reading, locks it as every reader can, prints that it has, and
// ends when its standard input ends.
func lockUntilTheEnd(path string) int {
	f, err := os.Open(path)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH)
	}
	fmt.Println(err)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // wait for its end
	return 0
}

// lockedByAnother makes another process lock a file until end is called. It returns what that
// process printed.
func lockedByAnother(t *testing.T, path string, who *syscall.Credential) (pid int, result string, end func()) {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), lockerOf+"="+path)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	end = func() {
		_ = in.Close() // that ends the process
		_ = c.Wait()
	}
	t.Cleanup(end)
	result, _ = bufio.NewReader(out).ReadString('\n') // "" is an error
	return c.Process.Pid, strings.TrimSuffix(result, "\n"), end
}
