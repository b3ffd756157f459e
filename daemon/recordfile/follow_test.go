package recordfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
			f.out.looked = f.out.looked.Add(-time.Second) // as if a second had passed
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
	f.out.looked = f.out.looked.Add(-time.Second)
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
	f.out.looked = f.out.looked.Add(-time.Second)
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
	f.out.torn = 7 // as a failed write leaves it
	if err := os.Truncate(opt.Path, 0); err != nil {
		t.Fatal(err)
	}
	write(t, f, "after\n")
	if got, want := read(t, opt.Path), "after\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
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
	f.out.needsAdopt = true // as after a failed write, if the file was truncated from outside
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
