package record

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// options returns options for a file in a new directory.
func options(t *testing.T) FileOptions {
	dir := filepath.Join(t.TempDir(), "sub")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return FileOptions{Path: filepath.Join(dir, "records.log"), Mode: 0o640, MaxSize: 1 << 20}
}

func open(t *testing.T, opt FileOptions) *File {
	t.Helper()
	f, err := OpenFile(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func write(t *testing.T, f *File, lines string) {
	t.Helper()
	if n, err := f.Write([]byte(lines)); n != len(lines) || err != nil {
		t.Fatalf("got %d, %v, want %d bytes written", n, err, len(lines))
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// whole returns everything that was written, oldest backup first.
func whole(t *testing.T, path string) string {
	t.Helper()
	backups, _ := filepath.Glob(strings.TrimSuffix(path, ".log") + "-*")
	slices.Sort(backups)
	var all strings.Builder
	for _, name := range backups {
		b := []byte(read(t, name))
		if strings.HasSuffix(name, ".gz") {
			z, err := gzip.NewReader(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if b, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		all.Write(b)
	}
	return all.String() + read(t, path)
}

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

func TestFileIsCountedAndCompressed(t *testing.T) {
	opt := options(t)
	opt.MaxSize, opt.MaxBackups, opt.Compress = 4, 3, true
	f := open(t, opt)
	for i := range 9 {
		write(t, f, fmt.Sprintf("%03d\n", i))
	}
	want := "005\n006\n007\n008\n"
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		plain, _ := filepath.Glob(filepath.Dir(opt.Path) + "/*-*.log")
		packed, _ := filepath.Glob(filepath.Dir(opt.Path) + "/*.log.gz")
		if len(plain) == 0 && len(packed) == 3 && whole(t, opt.Path) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %q and %q, want three compressed backups and %q", plain, packed, want)
		}
	}
}

func TestFileThatWasMovedOrDeletedIsMadeAnew(t *testing.T) {
	for _, c := range []struct {
		name string
		act  func(path string) error
	}{
		{"deleted", os.Remove},
		{"renamed", func(p string) error { return os.Rename(p, p+".1") }},
		{"directory gone", func(p string) error { return os.RemoveAll(filepath.Dir(p)) }},
		{"replaced", func(p string) error {
			return errors.Join(os.WriteFile(p+".new", []byte("other\n"), 0o600), os.Rename(p+".new", p))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := options(t)
			f := open(t, opt)
			write(t, f, "before\n")
			if err := c.act(opt.Path); err != nil {
				t.Fatal(err)
			}
			f.looked = f.looked.Add(-time.Second) // as if a second had passed
			write(t, f, "after\n")
			if got := read(t, opt.Path); !strings.HasSuffix(got, "after\n") || strings.Contains(got, "before") {
				t.Errorf("got %q, want only what came after", got)
			}
		})
	}
}

func TestFileTruncatedFromOutsideHasNoHole(t *testing.T) {
	opt := options(t)
	opt.MaxSize = 20
	f := open(t, opt)
	write(t, f, "before, before\n")
	if err := os.Truncate(opt.Path, 0); err != nil {
		t.Fatal(err)
	}
	f.looked = f.looked.Add(-time.Second)
	write(t, f, "after, after\n")
	if got, want := whole(t, opt.Path), "after, after\n"; got != want {
		t.Errorf("got %q, want %q in one file", got, want)
	}
}

func TestFileTruncatedWithinALineEndsIt(t *testing.T) {
	opt := options(t)
	f := open(t, opt)
	write(t, f, "one\ntwo\n")
	if err := os.Truncate(opt.Path, 6); err != nil {
		t.Fatal(err)
	}
	f.looked = f.looked.Add(-time.Second)
	write(t, f, "three\n")
	if got, want := read(t, opt.Path), "one\ntw\nthree\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestFileEmptiedWhileAWriteIsTorn: nothing is written after a hole if another program truncates
// the file to make room on a full disk.
func TestFileEmptiedWhileAWriteIsTorn(t *testing.T) {
	opt := options(t)
	f := open(t, opt)
	write(t, f, "before\n")
	f.torn = 7 // as a failed write leaves it
	if err := os.Truncate(opt.Path, 0); err != nil {
		t.Fatal(err)
	}
	write(t, f, "after\n")
	if got, want := read(t, opt.Path), "after\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFileHasOneFormat(t *testing.T) {
	opt := options(t)
	f := open(t, opt)
	write(t, f, "text\n")
	opt.Format = JSON
	if err := f.Reopen(opt); err != nil {
		t.Fatal(err)
	}
	write(t, f, "{}\n")
	if got, want := read(t, opt.Path), "{}\n"; got != want {
		t.Errorf("after a reload: got %q, want %q", got, want)
	}
	f.Close()
	opt.Format = Text
	f = open(t, opt)
	write(t, f, "text again\n")
	if got, want := read(t, opt.Path), "text again\n"; got != want {
		t.Errorf("after a start: got %q, want %q", got, want)
	}
	if got, want := whole(t, opt.Path), "text\n{}\ntext again\n"; got != want {
		t.Errorf("got %q in all, want %q", got, want)
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
		if moves > 0 && (what == "rename" || what == "open" || moves > 1) { // neither finish nor undo the rotation
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

// TestAFileThatIsMovedBackIsWrittenOn: an administrator undoes a rotation that could not be undone
// when it failed.
func TestAFileThatIsMovedBackIsWrittenOn(t *testing.T) {
	opt, d := onFaulty(t)
	opt.MaxSize = 12
	f := open(t, opt)
	write(t, f, "first\n")
	moves := 0
	d.step = func(what string) error {
		if what == "move" || what == "rotate" {
			moves++
		}
		if what == "rename" || moves > 1 {
			return unix.EIO
		}
		return nil
	}
	if n, err := f.Write([]byte("longer\n")); n != 0 || !errors.Is(err, unix.EIO) {
		t.Errorf("got %d, %v, want nothing written and %v", n, err, unix.EIO)
	}
	if err := os.Rename(f.rotations(t)[0].Path(), opt.Path); err != nil {
		t.Fatal(err)
	}
	d.step = nil
	write(t, f, "short\n")
	if got, want := read(t, opt.Path), "first\nshort\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestAFileThatWasMovedIsNotCutByAnother: the content of the file that has the name now says
// nothing about ours.
func TestAFileThatWasMovedIsNotCutByAnother(t *testing.T) {
	opt := options(t)
	f := open(t, opt)
	const line = "2026-11-22T13:05:41.118203Z from 192.0.2.7:40312: one\n"
	write(t, f, line+line)
	moved := opt.Path + ".1"
	if err := errors.Join(os.Rename(opt.Path, moved), os.WriteFile(opt.Path, []byte(line+strings.Repeat("2026-11-22T13:05:41 ", 10)), 0o640)); err != nil {
		t.Fatal(err)
	}
	f.needsAdopt = true // as after a failed write, if the file was truncated from outside
	if n, err := f.Write([]byte(line)); n != 0 || err == nil {
		t.Errorf("got %d, %v, want an error: which file is to be written is not known", n, err)
	}
	write(t, f, line)
	if got, want := read(t, moved), line+line; got != want {
		t.Errorf("got %q in the file that was moved, want %q", got, want)
	}
	if got := read(t, opt.Path); !strings.HasSuffix(got, "\n"+line) {
		t.Errorf("got %q, want it to end with the line", got)
	}
}

// TestAFileThatWasMovedNeedsNoRotation covers the second after another program has rotated the
// file.
func TestAFileThatWasMovedNeedsNoRotation(t *testing.T) {
	opt := options(t)
	opt.MaxSize, opt.Trouble = 8, func(what Trouble, err error) { t.Errorf("told of %v: %v", what, err) }
	f := open(t, opt)
	write(t, f, "first\n")
	if err := os.Rename(opt.Path, opt.Path+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, f, "second\n")
	write(t, f, "third\n")
	if got, want := read(t, opt.Path+".1")+read(t, opt.Path), "first\nsecond\nthird\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
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

func TestLastLineThatIsNotWhole(t *testing.T) {
	const whole = "2026-11-22T13:05:41.118203Z from 192.0.2.7:40312: one\n"
	const object = `{"time":"2026-11-22T13:05:41.118203Z","kind":"open"}` + "\n"
	long := strings.Repeat("x", 200<<10)
	for _, c := range []struct {
		name, before, want string
		format             Format
	}{
		{"a piece of a record", whole + "2026-11-22T13:05:41.118", whole, Text},
		{"a record without its end", whole + whole[:len(whole)-1], whole, Text},
		{"a long piece", whole + whole[:len(whole)-1] + long, whole, Text},
		{"nothing but a piece", "2026-11", "", Text},
		{"a piece of an object", object + object[:12], object, JSON},
		{"zeros of a loss of power", whole + "2026-11-22T13:05\x00\x00\x00\x00", whole, Text},
		{"nothing but a piece and zeros", "2026-11\x00\x00\x00\x00", "", Text},
		{"nothing but the first bytes of a piece, and zeros", "20\x00\x00\x00\x00", "", Text},
		{"nothing but a short number", "20", "20\n", Text},
		{"nothing but zeros", "\x00\x00\x00\x00\x00\x00\x00\x00", "", Text},
		{"zeros behind a record", whole + strings.Repeat("\x00", 100), whole, Text},
		{"another's line behind ours", whole + "time=2026", whole + "time=2026\n", Text},
		{"a barcode", "4006381333931", "4006381333931\n", Text},
		{"a barcode behind others", "4006381333931\n2026", "4006381333931\n2026\n", Text},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := options(t)
			opt.Format = c.format
			if err := os.WriteFile(opt.Path, []byte(c.before), 0o600); err != nil {
				t.Fatal(err)
			}
			var told error
			opt.Trouble = func(what Trouble, err error) {
				if what == TornLine {
					told = err
				}
			}
			write(t, open(t, opt), "next\n")
			if got, want := read(t, opt.Path), c.want+"next\n"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if told == nil {
				t.Error("nobody was told")
			}
		})
	}
}

// unreadable is a file whose bytes at one offset cannot be read.
type unreadable struct {
	io.ReaderAt
	at int64
}

func (u unreadable) ReadAt(b []byte, off int64) (int, error) {
	if off == u.at {
		return 0, unix.EIO
	}
	return u.ReaderAt.ReadAt(b, off)
}

func TestLastLineThatCannotBeReadIsLeftAlone(t *testing.T) {
	const last = "2026-11"
	before := strings.Repeat("2026-11-22T13:05:41.118203Z from 192.0.2.7:40312: one\n", 2000) + last
	f := open(t, options(t))
	write(t, f, before)
	for name, at := range map[string]int{"the beginning of the file": 0, "the last line": len(before) - len(last)} {
		err := f.mend(unreadable{strings.NewReader(before), int64(at)})
		if got := read(t, f.Path()); !errors.Is(err, unix.EIO) || got != before {
			t.Errorf("%s: got error %v and %d bytes, want %v and %d", name, err, len(got), unix.EIO, len(before))
		}
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
	f.rotated = f.rotated.Add(-time.Second) // as if a second had passed
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

func TestReopenTakesOverWhatIsNewOrKeepsTheOld(t *testing.T) {
	opt := options(t)
	f := open(t, opt)
	write(t, f, "one\n")
	next := opt
	next.Path, next.MaxSize, next.Mode = filepath.Join(t.TempDir(), "next.log"), 4, 0o600
	if err := f.Reopen(next); err != nil {
		t.Fatal(err)
	}
	write(t, f, "two\n")
	write(t, f, "3\n")
	if got, want := read(t, opt.Path), "one\n"; got != want {
		t.Errorf("got %q in the old file, want %q", got, want)
	}
	if got, want := whole(t, next.Path), "two\n3\n"; got != want || f.Path() != next.Path {
		t.Errorf("got %q in %s, want %q in %s, rotated", got, f.Path(), want, next.Path)
	}
	bad := next
	bad.Path = filepath.Dir(next.Path)
	if err := f.Reopen(bad); err == nil {
		t.Error("a directory was taken")
	}
	write(t, f, "4\n")
	if got, want := whole(t, next.Path), "two\n3\n4\n"; got != want {
		t.Errorf("after a Reopen that failed: got %q, want %q", got, want)
	}
	if err := f.Reopen(opt); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(opt.Path); err != nil || info.Mode() != 0o640 {
		t.Errorf("got mode %v, %v, want the configured one", info.Mode(), err)
	}
	f.Close()
	if err := f.Reopen(opt); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: got %v, want %v", err, fs.ErrClosed)
	}
}

// TestAFileThatIsNoMoreOfUseCanBeLeft: Reopen opens another file whatever is wrong with the old
// one, and errors of the old one are no longer reported.
func TestAFileThatIsNoMoreOfUseCanBeLeft(t *testing.T) {
	opt, d := onFaulty(t)
	var told []error
	opt.MaxSize, opt.Trouble = 8, func(what Trouble, err error) {
		if what == Rotation {
			told = append(told, err)
		}
	}
	f := open(t, opt)
	d.step = failingStep("rename", unix.EIO)
	write(t, f, "first\nsecond\n")
	dir := filepath.Dir(opt.Path)
	if err := errors.Join(os.Rename(dir, dir+".away"), os.WriteFile(dir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	f.renamedAway, f.needsAdopt = unix.EIO, true // as a rotation that failed half-way leaves it
	next := opt
	next.Path, next.disk = filepath.Join(t.TempDir(), "next.log"), nil
	if err := f.Reopen(next); err != nil {
		t.Fatal(err)
	}
	write(t, f, "third\n")
	if got, want := read(t, next.Path), "third\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(told) != 2 || told[0] == nil || told[1] != nil {
		t.Errorf("told %v, want that rotating failed, and that it does so no more", told)
	}
}

// TestBackupsSurviveReopen: no change of options, at any time, loses a line of a backup.
func TestBackupsSurviveReopen(t *testing.T) {
	opt := options(t)
	opt.Compress = true
	f := open(t, opt)
	var want strings.Builder
	for i := range 60 {
		line := fmt.Sprintf("line %d\n", i)
		write(t, f, line)
		want.WriteString(line)
		if err := f.rotateNow(); err != nil {
			t.Fatal(err)
		}
		opt.MaxBackups = 1000 + i
		if err := f.Reopen(opt); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := whole(t, opt.Path); got != want.String() {
		t.Errorf("got %d lines, want 60:\n%s", strings.Count(got, "\n"), got)
	}
}

func TestReopenMakesAFileAnewAtOnce(t *testing.T) {
	opt := options(t)
	f := open(t, opt)
	write(t, f, "before\n")
	if err := os.Remove(opt.Path); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(opt); err != nil {
		t.Fatal(err)
	}
	write(t, f, "after\n")
	if got, want := read(t, opt.Path), "after\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFileIsOpenOnce(t *testing.T) {
	opt := options(t)
	f := open(t, opt)
	_, err := OpenFile(opt)
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

func TestRetention(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	dir := t.TempDir()
	r := rule{path: filepath.Join(dir, "r.log"), most: 3, age: 48 * time.Hour, compress: true}
	ago := func(d time.Duration) string {
		return Backup{Of: r.path, At: time.Now().Add(-d)}.Path()
	}
	keep := []string{ago(time.Hour), ago(2 * time.Hour)}
	for _, name := range append([]string{ago(72 * time.Hour), ago(100*time.Hour) + ".gz", ago(3*time.Hour) + ".gz.tmp"}, keep...) {
		if err := os.WriteFile(name, []byte("line\n"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	strangers := []string{"r.log", "r-not-a-time.log", "r-2026-01-01T00-00-00.000.txt", "other-2026-01-01T00-00-00.000.log"}
	for _, name := range strangers {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	unix.Umask(0o077)
	if err := r.apply(func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range keep {
		want = append(want, filepath.Base(name)+".gz")
	}
	want = append(append(want, strangers...), ".r.log.ages")
	entries, _ := os.ReadDir(dir)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if info, err := os.Stat(keep[0] + ".gz"); err != nil || info.Mode() != 0o640 {
		t.Errorf("got mode %v, %v, want that of the file", info.Mode(), err)
	}

	r.most = 1
	if err := r.apply(func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "r-2*.gz")); len(left) != 1 || left[0] != keep[0]+".gz" {
		t.Errorf("got %q, want only the newest", left)
	}
}

func TestBackupThatACrashLeftInTwoFormsCountsOnce(t *testing.T) {
	r := rule{path: filepath.Join(t.TempDir(), "r.log"), most: 2}
	now := time.Now()
	var want []string
	for _, b := range []Backup{{At: now}, {At: now, Packed: true}, {At: now.Add(-time.Hour)}, {At: now.Add(-2 * time.Hour)}} {
		b.Of = r.path
		want = append(want, b.Path())
		if err := os.WriteFile(b.Path(), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.apply(func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	got, err := filepath.Glob(filepath.Join(filepath.Dir(r.path), "*"))
	if want = want[:3]; err != nil || len(got) != len(want) || slices.ContainsFunc(want, func(name string) bool { return !slices.Contains(got, name) }) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// TestCompressionLeavesMinFree: compression leaves the configured space free too.
func TestCompressionLeavesMinFree(t *testing.T) {
	for _, c := range []struct {
		name    string
		minFree int64
		want    string // what is left of the backup
		err     string
	}{
		{"nothing is left to others", 0, "r-2026-01-01T00-00-00.000.log.gz", ""},
		{"there is room", 1, "r-2026-01-01T00-00-00.000.log.gz", ""},
		{"there is none", 1 << 60, "r-2026-01-01T00-00-00.000.log", "too few beside the 1152921504606846976 that min_free leaves to others"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "r-2026-01-01T00-00-00.000.log"), []byte("line\n"), 0o640); err != nil {
				t.Fatal(err)
			}
			err := rule{path: filepath.Join(dir, "r.log"), compress: true, minFree: c.minFree}.apply(func() bool { return false })
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, want %q", err, c.err)
			}
			left, _ := os.ReadDir(dir)
			if len(left) != 1 || left[0].Name() != c.want {
				t.Errorf("got %v left, want %q", left, c.want)
			}
		})
	}
}

func TestRetentionThatFailsIsToldOnce(t *testing.T) {
	var told []error
	k := newKeeper(func(what Trouble, err error) {
		if what != Retention {
			t.Errorf("told of %v, want %v", what, Retention)
		}
		told = append(told, err)
	})
	keep := func(path string) {
		k.keep(rule{path: path, most: 1})
		k.mu.Lock()
		defer k.mu.Unlock()
		for k.running {
			k.ended.Wait()
		}
	}
	for range 3 {
		keep(filepath.Join(t.TempDir(), "gone", "r.log"))
	}
	if len(told) != 1 || told[0] == nil {
		t.Errorf("told %v, want the fault once", told)
	}
	for range 2 {
		keep(filepath.Join(t.TempDir(), "r.log"))
	}
	if len(told) != 2 || told[1] != nil {
		t.Errorf("told %v, want its end once", told)
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
		_, err := OpenFile(FileOptions{Path: filepath.Join(dir, name), Mode: 0o640, MaxSize: 100})
		if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("open record file %q: ", filepath.Join(dir, name))) {
			t.Errorf("%s: got %v, want an error that names the file", name, err)
		}
	}
	if _, err := os.Stat(dir + "/elsewhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link's target was made: %v", err)
	}
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
