package recordfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFileHasItsModeWhateverTheUmask(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	opt := options(t)
	opt.MaxSize = 8
	f := open(t, opt)
	for _, line := range []string{"before\n", "after\n"} {
		write(t, f, line)
		info, err := os.Stat(opt.Path)
		if err != nil || info.Mode() != 0o640 {
			t.Errorf("%q: got mode %v, %v, want -rw-r-----", line, info.Mode(), err)
		}
	}
}

func TestOpenFileRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, err := range map[string]error{
		"directory": os.Mkdir(dir+"/directory", 0o700),
		"link":      os.Symlink("elsewhere", dir+"/link"),
		"fifo":      unix.Mkfifo(dir+"/fifo", 0o600),
		"socket":    unix.Mknod(dir+"/socket", unix.S_IFSOCK|0o600, 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
		_, err := Open(Options{Path: filepath.Join(dir, name), Mode: 0o640, MaxSize: 100})
		if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("open record file %q: ", filepath.Join(dir, name))) {
			t.Errorf("%s: got %v, want an error that names the file", name, err)
		}
	}
	if _, err := os.Stat(dir + "/elsewhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link's target was made: %v", err)
	}
}

func TestFileIsOpenOnce(t *testing.T) {
	opt := options(t)
	f := open(t, opt)
	_, err := Open(opt)
	if err == nil || !strings.Contains(err.Error(), "in use already, by this process") {
		t.Errorf("got %v, want a refusal", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(f.lock.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the lock is left behind: %v", err)
	}
	write(t, open(t, opt), "free again\n")
}

func TestFileIsClosedForGood(t *testing.T) {
	f := open(t, options(t))
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Error(err)
	}
	if n, err := f.Write([]byte("late\n")); n != 0 || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("got %d, %v, want 0, %v", n, err, fs.ErrClosed)
	}
}

// TestFileThatMayGrowNoLargerIsRotated: the kernel refuses writes beyond a limit of the process.
func TestFileThatMayGrowNoLargerIsRotated(t *testing.T) {
	inAProcessOfItsOwn(t, func() {
		opt := options(t)
		f := open(t, opt)
		write(t, f, "before\n")
		limitFiles(t, 7+6+3)
		write(t, f, "whole\ntorn\n")
		if got, want := read(t, opt.Path), "torn\n"; got != want {
			t.Errorf("got %q in the newest file, want %q", got, want)
		}
		if n, err := f.Write([]byte("fits\nlonger than a file may be\n")); n != 5 || !errors.Is(err, unix.EFBIG) {
			t.Errorf("got %d, %v, want 5 bytes and %v", n, err, unix.EFBIG)
		}
		write(t, f, "again\n")
		if got, want := whole(t, opt.Path), "before\nwhole\ntorn\nfits\nagain\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestTheKernelIsAskedToSync: the system call is made, because fdatasync(2) has a specific error
// for a pipe.
func TestTheKernelIsAskedToSync(t *testing.T) {
	_, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	h, err := kernel{}.hold(w)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.datasync(); err != unix.EINVAL {
		t.Errorf("got %v, want %v", err, unix.EINVAL)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.datasync(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: got %v, want %v", err, os.ErrClosed)
	}
}

// TestMinFreeStopsBeforeTheDiskIsFull: the configured space stays free, and the disk is not asked
// at every write.
func TestMinFreeStopsBeforeTheDiskIsFull(t *testing.T) {
	opt, d := onFaulty(t)
	opt.MinFree = 1000
	free := int64(1100)
	d.free = func() int64 { return free }
	f := open(t, opt)
	line := strings.Repeat("x", 49) + "\n"
	for range 2 {
		f.out.looked = time.Now() // no second passes
		write(t, f, line)
	}
	if d.looks != 1 {
		t.Errorf("looked %d times at the room for 2 writes within a second, want once", d.looks)
	}
	free = 1000
	n, err := f.Write([]byte(line))
	if n != 0 || err == nil || !strings.Contains(err.Error(), "1000 bytes are free on its file system, too few for 50 more with the 1000 that min_free leaves to others") {
		t.Errorf("got %d, %v with the room used up, want a fault that names min_free", n, err)
	}
	if got := read(t, opt.Path); got != line+line {
		t.Errorf("got %d bytes in the file, want the two lines that had room", len(got))
	}
	free = 1050
	write(t, f, line)
	opt.MinFree = 2000
	if err := f.Reopen(opt); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Write([]byte(line)); n != 0 || err == nil {
		t.Errorf("got %d, %v after a reload that leaves more to others, want a fault", n, err)
	}
}

// TestMinFreeIsLoweredUnderAWriter: LowerMinFree helps a write that waits for space, does not raise
// the limit, and can be undone.
func TestMinFreeIsLoweredUnderAWriter(t *testing.T) {
	opt, d := onFaulty(t)
	opt.MinFree = 1000
	d.free = func() int64 { return 900 }
	f := open(t, opt)
	const line = "a line\n"
	refused := func(when string) {
		t.Helper()
		if n, err := f.Write([]byte(line)); n != 0 || err == nil {
			t.Errorf("got %d, %v %s, want a fault for want of room", n, err, when)
		}
	}
	refused("at first")
	undo := f.LowerMinFree(800)
	write(t, f, line)
	undo()
	refused("after undo")
	undo = f.LowerMinFree(2000)
	d.free = func() int64 { return 1500 }
	write(t, f, line)
	undo()
	write(t, f, line)
}
