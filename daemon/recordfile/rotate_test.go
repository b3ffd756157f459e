package recordfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFileRotatesBetweenLines(t *testing.T) {
	opt := options(t)
	opt.MaxSize = 100
	f := open(t, opt)
	var want strings.Builder
	for i := range 60 {
		lines := strings.Repeat(fmt.Sprintf("line %d\n", i), i)
		if i == 30 {
			lines = strings.Repeat("longer than a file ", 9) + "\n"
		}
		write(t, f, lines)
		want.WriteString(lines)
	}
	if got := whole(t, opt.Path); got != want.String() {
		t.Errorf("got %d bytes in all files, want %d: a rotation lost or overwrote some", len(got), want.Len())
	}
	names, _ := filepath.Glob(filepath.Dir(opt.Path) + "/*")
	for _, name := range names {
		if b := read(t, name); len(b) > 100 && strings.Count(b, "\n") > 1 || !strings.HasSuffix(b, "\n") {
			t.Errorf("%s: %d bytes, %d lines: want at most 100 bytes of whole lines", name, len(b), strings.Count(b, "\n"))
		}
	}
}

func TestFileRotatedTwiceInAMillisecondKeepsBoth(t *testing.T) {
	opt := options(t)
	opt.MaxSize = 4
	f := open(t, opt)
	for i := range 50 {
		write(t, f, fmt.Sprintf("%03d\n", i))
	}
	if got := strings.Count(whole(t, opt.Path), "\n"); got != 50 {
		t.Errorf("got %d of 50 lines", got)
	}
}

// TestFileThatCannotBeMadeAnewAfterItsRotation: nothing is written to a file that was renamed to a
// backup, because it may be compressed and deleted at any time.
func TestFileThatCannotBeMadeAnewAfterItsRotation(t *testing.T) {
	opt, d := onFaulty(t)
	opt.MaxSize = 8
	f := open(t, opt)
	write(t, f, "first\n")
	moves := 0
	d.step = func(what string) error {
		if what == "move" || what == "rotate" {
			moves++
		}
		// Neither finish nor undo the rotation.
		if moves > 0 && (what == "rename" || what == "open" || moves > 1) {
			return unix.EIO
		}
		return nil
	}
	for range 2 {
		if n, err := f.Write([]byte("second\n")); n != 0 || !errors.Is(err, unix.EIO) {
			t.Errorf("got %d, %v, want nothing written and %v", n, err, unix.EIO)
		}
	}
	d.step = nil
	f.opt.Compress = true
	write(t, f, "second\n")
	f.keeperRests()
	if left := f.rotations(t); len(left) != 1 || !left[0].Packed {
		t.Errorf("got %v, want the file compressed that was moved aside", left)
	}
	if got, want := read(t, opt.Path), "second\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := whole(t, opt.Path), "first\nsecond\n"; got != want {
		t.Errorf("got %q in all, want %q", got, want)
	}
}

func TestFileThatCannotBeRotatedIsWrittenOn(t *testing.T) {
	var told []error
	opt, d := onFaulty(t)
	opt.MaxSize, opt.Trouble = 8, func(what Trouble, err error) {
		if what == Rotation {
			told = append(told, err)
		}
	}
	d.step = failingStep("rename", unix.EIO)
	f := open(t, opt)
	for _, line := range []string{"first\n", "second\n", "third\n"} {
		write(t, f, line)
	}
	d.step = nil
	f.rotation.tried = f.rotation.tried.Add(-time.Second) // as if a second had passed
	write(t, f, "fourth\n")
	if got, want := whole(t, opt.Path), "first\nsecond\nthird\nfourth\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := read(t, opt.Path), "fourth\n"; got != want {
		t.Errorf("got %q in the newest file, want %q", got, want)
	}
	if len(told) != 2 || told[0] == nil || told[1] != nil {
		t.Errorf("told %v, want one fault and one end of it", told)
	}
}

// TestWhatARotationThatWasKilledLeft is removed by the next process.
func TestWhatARotationThatWasKilledLeft(t *testing.T) {
	opt := options(t)
	left := hidden(opt.Path, ".next")
	if err := os.WriteFile(left, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	open(t, opt)
	if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

// TestAClockThatWasSetBackOverwritesNothing: a backup already has the name of the current
// millisecond.
func TestAClockThatWasSetBackOverwritesNothing(t *testing.T) {
	opt := options(t)
	opt.Sync = SyncNever
	inBubble(t, open(t, opt), func(t *testing.T, f *File) {
		before := Backup{Of: opt.Path, At: time.Now()}.Path()
		if err := os.WriteFile(before, []byte("before\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		write(t, f, "after\n")
		if err := f.rotateNow(); err != nil {
			t.Fatal(err)
		}
		if got, want := whole(t, opt.Path), "before\nafter\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		f.keeperRests()
	})
}

// TestTheOrderOfBackupsIsThatOfRotation: backups with a wrong time in their names, because the
// clock was or is wrong, do not replace newer ones.
func TestTheOrderOfBackupsIsThatOfRotation(t *testing.T) {
	for _, year := range []int{1970, 2099} {
		opt := options(t)
		opt.MaxSize, opt.MaxBackups, opt.Sync = 8, 3, SyncNever
		for i := range 3 {
			name := Backup{Of: opt.Path, At: time.Date(year, 1, 1, 0, 0, i, 0, time.UTC)}.Path()
			if err := os.WriteFile(name, []byte("before\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f := open(t, opt)
		f.keeperRests() // it has processed the earlier backups
		for i := range 20 {
			write(t, f, fmt.Sprintf("line %d\n", i))
		}
		f.keeperRests()
		if got, want := whole(t, opt.Path), "line 16\nline 17\nline 18\nline 19\n"; got != want {
			t.Errorf("%d: got %q, want %q", year, got, want)
		}
		if n := len(f.rotations(t)); n != 3 {
			t.Errorf("%d: got %d backups, want 3", year, n)
		}
	}
}

// TestAChownThatFailsAfterTheRenameLosesNothing rotates a file of another user without the
// capability to give the next one to that user.
func TestAChownThatFailsAfterTheRenameLosesNothing(t *testing.T) {
	opt := options(t)
	opt.MaxSize = 8
	f := open(t, opt)
	write(t, f, "first\n")
	if err := os.Chown(opt.Path, 12345, 12345); err != nil {
		lacks(t, err.Error(), "run as root")
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends without the capability
		if err := withoutChown(); err != nil {
			done <- err
			return
		}
		if err := os.Chown(opt.Path, 12345, 12346); !errors.Is(err, unix.EPERM) {
			done <- fmt.Errorf("chown still works: %v", err)
			return
		}
		_, err := f.Write([]byte("second\n"))
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	write(t, f, "3\n")
	if got, want := whole(t, opt.Path), "first\nsecond\n3\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := read(t, opt.Path), "3\n"; got != want {
		t.Errorf("got %q in the newest file, want %q", got, want)
	}
}

// withoutChown drops CAP_CHOWN of the thread (capabilities(7)).
func withoutChown() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&head, &caps[0]); err != nil {
		return err
	}
	caps[0].Effective &^= 1 << unix.CAP_CHOWN
	return unix.Capset(&head, &caps[0])
}
