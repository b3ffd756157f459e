package recordfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/record"
)

func TestFileHasOneFormat(t *testing.T) {
	opt := options(t)
	f := open(t, opt)
	write(t, f, "text\n")
	opt.Format = record.JSON
	if err := f.Reopen(opt); err != nil {
		t.Fatal(err)
	}
	write(t, f, "{}\n")
	if got, want := read(t, opt.Path), "{}\n"; got != want {
		t.Errorf("after a reload: got %q, want %q", got, want)
	}
	f.Close()
	opt.Format = record.Text
	f = open(t, opt)
	write(t, f, "text again\n")
	if got, want := read(t, opt.Path), "text again\n"; got != want {
		t.Errorf("after a start: got %q, want %q", got, want)
	}
	if got, want := whole(t, opt.Path), "text\n{}\ntext again\n"; got != want {
		t.Errorf("got %q in all, want %q", got, want)
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
	// As a rotation that failed half-way leaves it.
	f.out.renamedAway, f.out.needsAdopt = unix.EIO, true
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

// TestReloadThatWantsSyncsHasWhatWasWritten: a stricter Sync applies to earlier lines too.
func TestReloadThatWantsSyncsHasWhatWasWritten(t *testing.T) {
	opt, d := onFaulty(t)
	opt.Sync = SyncNever
	f := open(t, opt)
	write(t, f, "before\n")
	opt.Sync = SyncAlways
	d.syncs = failing(1, unix.EIO)
	if err := f.Reopen(opt); !errors.Is(err, unix.EIO) {
		t.Errorf("got %v from a disk that fails, want %v", err, unix.EIO)
	}
	write(t, f, "still as it was\n")
	if err := f.Reopen(opt); err != nil {
		t.Fatal(err)
	}
	if got := d.survives(opt.Path); !strings.HasSuffix(got, "still as it was\n") {
		t.Errorf("got %q on disk, want all that was written", got)
	}
}

// TestReloadThatFailsChangesNothing: Write still waits for the disk after a reload to a weaker Sync
// has failed.
func TestReloadThatFailsChangesNothing(t *testing.T) {
	opt, d := onFaulty(t)
	opt.Sync, opt.Mode = SyncAlways, 0o640
	f := open(t, opt)
	write(t, f, "one\n")
	d.step = failingStep("rename", unix.EIO) // it cannot be rotated
	next := opt
	next.Sync, next.Format, next.Mode = SyncNever, record.JSON, 0o600
	if err := f.Reopen(next); err == nil {
		t.Fatal("got a file of another format that was not rotated, want an error")
	}
	syncs := d.count("sync")
	write(t, f, "two\n")
	if got := d.count("sync") - syncs; got != 1 {
		t.Errorf("got %d syncs for a write, want 1 as before the reload", got)
	}
	if info, err := os.Stat(opt.Path); err != nil || info.Mode() != opt.Mode {
		t.Errorf("got mode %v (%v), want %v", info.Mode(), err, opt.Mode)
	}
}
