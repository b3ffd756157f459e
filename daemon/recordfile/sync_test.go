package recordfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// diskFault is what is wrong with a disk when a file is written.
type diskFault struct {
	name   string
	fail   func(*faulty)
	tries  int // until it succeeds
	rotate bool
}

var diskFaults = []diskFault{
	{"a disk in order", func(*faulty) {}, 1, false},
	{"fdatasync fails once", func(d *faulty) { d.syncs = failing(1, unix.EIO) }, 2, false},
	{"fdatasync fails thrice", func(d *faulty) { d.syncs = failing(3, unix.EIO) }, 4, false},
	{"the directory cannot be synced", func(d *faulty) { d.syncsOf = failing(2, unix.EIO) }, 2, false},
	{"a disk in order, rotation", func(*faulty) {}, 1, true},
	{"fdatasync fails before a rotation", func(d *faulty) { d.syncs = failing(1, unix.EIO) }, 2, true},
	{"fdatasync fails after a rotation", func(d *faulty) {
		calls := 0
		d.syncs = func() error {
			// The old file twice: before it is moved and before it is closed.
			if calls++; calls == 3 {
				return unix.EIO
			}
			return nil
		}
	}, 2, true},
	{"the directory cannot be synced after a rotation", func(d *faulty) {
		calls := 0
		d.syncsOf = func() error {
			if calls++; calls == 2 || calls == 3 {
				return unix.EIO
			}
			return nil
		}
	}, 2, true},
	{"a short write", func(d *faulty) {
		full := false
		d.writes = func(p []byte) (int, error) {
			if full = !full; full {
				return len(p) / 2, unix.ENOSPC
			}
			return -1, nil
		}
	}, 2, false},
}

func TestWriteThatSyncsAlways(t *testing.T) {
	for _, c := range diskFaults {
		t.Run(c.name, func(t *testing.T) {
			opt, d := onFaulty(t)
			if c.rotate {
				opt.MaxSize = 24
			}
			c.fail(d)
			f := open(t, opt)
			lines := []byte("the first\nthe second\nthe third\n")
			tries := 0
			for left := lines; len(left) > 0; tries++ {
				if tries > c.tries {
					t.Fatalf("got no end after %d tries", tries)
				}
				n, err := f.Write(left)
				if (err == nil) != (n == len(left)) {
					t.Fatalf("got %d of %d bytes, %v", n, len(left), err)
				}
				left = left[n:]
				done := string(lines[:len(lines)-len(left)])
				if got := d.kept(opt.Path, done != ""); !strings.HasPrefix(got, done) {
					t.Errorf("try %d: got %q if the power went, want %q, which counts as written", tries, got, done)
				}
			}
			if got := whole(t, opt.Path); got != string(lines) || tries != c.tries {
				t.Errorf("got %q after %d tries, want %q after %d", got, tries, lines, c.tries)
			}
		})
	}
}

// kept returns what would survive now of the backups, and then of the file itself if it is wanted.
func (d *faulty) kept(path string, itself bool) string {
	var all strings.Builder
	for name := range d.names {
		if name != filepath.Base(path) {
			all.WriteString(d.survives(name))
		}
	}
	if itself {
		all.WriteString(d.survives(path))
	}
	return all.String()
}

// aside runs a test with a file in simulated time.
func aside(t *testing.T, sync time.Duration, test func(*testing.T, *File, *faulty, *[]error)) {
	opt, d := onFaulty(t)
	synctest.Test(t, func(t *testing.T) {
		var told []error
		opt.Sync, opt.Trouble = sync, func(what Trouble, err error) {
			if what == Syncing {
				told = append(told, err)
			}
		}
		f, err := Open(opt)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		test(t, f, d, &told)
	})
}

func TestSyncFollowsInTime(t *testing.T) {
	aside(t, time.Second, func(t *testing.T, f *File, d *faulty, told *[]error) {
		want := func(when string, syncs int, on string) {
			t.Helper()
			synctest.Wait()
			if got := d.count("sync 1"); got != syncs || d.survives(f.Path()) != on {
				t.Errorf("%s: got %d fdatasyncs and %q on disk, want %d and %q", when, got, d.survives(f.Path()), syncs, on)
			}
		}
		write(t, f, "one\n")
		time.Sleep(900 * time.Millisecond)
		write(t, f, "two\n")
		if got := d.count("sync 1"); got != 0 {
			t.Errorf("got %d fdatasyncs before a second was over, want none", got)
		}
		time.Sleep(100 * time.Millisecond)
		want("a second after the first", 1, "one\ntwo\n")
		time.Sleep(time.Hour)
		want("with nothing to sync", 1, "one\ntwo\n")
		write(t, f, "three\n")
		time.Sleep(time.Second)
		want("a second after the next", 2, "one\ntwo\nthree\n")
		write(t, f, "four\n")
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		want("closed", 3, "one\ntwo\nthree\nfour\n")
		if len(*told) > 0 {
			t.Errorf("told %v, want nothing", *told)
		}
	})
}

// TestSlowSyncHoldsUpNoWrite: lines are written during a sync, and are on disk in time afterwards.
func TestSlowSyncHoldsUpNoWrite(t *testing.T) {
	aside(t, time.Second, func(t *testing.T, f *File, d *faulty, _ *[]error) {
		d.syncs = func() error { time.Sleep(10 * time.Second); return nil }
		begun := time.Now()
		for i := range 12 {
			write(t, f, fmt.Sprintln(i))
			time.Sleep(time.Second)
		}
		if took := time.Since(begun); took != 12*time.Second {
			t.Errorf("got 12 writes in %v, want them to wait for nothing", took)
		}
		time.Sleep(20 * time.Second)
		if got, want := d.survives(f.Path()), read(t, f.Path()); got != want {
			t.Errorf("got %q on disk, want %q", got, want)
		}
		if got := d.count("sync 1"); got > 3 {
			t.Errorf("got %d fdatasyncs in 32 s of 10 s each, want one after the other", got)
		}
	})
}

// TestOptionsChangeDuringASync: the sync reads none of them meanwhile, which the race detector sees.
func TestOptionsChangeDuringASync(t *testing.T) {
	aside(t, time.Second, func(t *testing.T, f *File, d *faulty, _ *[]error) {
		d.syncs = func() error { time.Sleep(10 * time.Second); return nil }
		write(t, f, "line\n")
		time.Sleep(2 * time.Second)
		other := new(Counts)
		f.mu.Lock() // as Reopen does
		f.opt.Counts = other
		f.mu.Unlock()
		time.Sleep(20 * time.Second)
		if !other.Synced().IsZero() {
			t.Error("got the sync counted by the new options, want it by those with which it began")
		}
	})
}

// TestAFileThatIsClosedDuringASyncIsNoTrouble: a file is always synced before it is closed.
func TestAFileThatIsClosedDuringASyncIsNoTrouble(t *testing.T) {
	moved := func(f *File) error {
		if err := os.Rename(f.Path(), f.Path()+".moved"); err != nil {
			return err
		}
		_, err := f.Write([]byte("next\n"))
		return err
	}
	for what, end := range map[string]func(*File) error{"closed": (*File).Close, "moved": moved} {
		t.Run(what, func(t *testing.T) {
			aside(t, time.Second, func(t *testing.T, f *File, d *faulty, told *[]error) {
				var calls atomic.Int32
				d.syncs = func() error {
					if calls.Add(1) > 1 {
						return nil
					}
					time.Sleep(10 * time.Second)
					return os.ErrClosed // as openFile.datasync when its File was closed before
				}
				write(t, f, "line\n")
				time.Sleep(2 * time.Second)
				if err := end(f); err != nil {
					t.Error(err)
				}
				time.Sleep(20 * time.Second)
				f.mu.Lock()
				defer f.mu.Unlock()
				if d.count("close 1") != 1 || len(*told) > 0 || f.syncer.unsafe {
					t.Errorf("got %v, told %v, unsafe %v, want it closed, nothing and false", d.done, *told, f.syncer.unsafe)
				}
			})
		})
	}
}

// TestSyncThatFailsLaterHasWriteWait: no more than the lines of one interval are at risk.
func TestSyncThatFailsLaterHasWriteWait(t *testing.T) {
	aside(t, time.Second, func(t *testing.T, f *File, d *faulty, told *[]error) {
		d.syncs = failing(2, unix.EIO)
		write(t, f, "lost\n")
		time.Sleep(time.Second)
		synctest.Wait()
		if len(*told) != 1 || !errors.Is((*told)[0], unix.EIO) {
			t.Errorf("told %v, want the fault once", *told)
		}
		if n, err := f.Write([]byte("next\n")); n != 0 || !errors.Is(err, unix.EIO) {
			t.Errorf("got %d, %v while the disk fails, want 0 and why", n, err)
		}
		write(t, f, "next\n")
		if got, want := d.survives(f.Path()), "\x00\x00\x00\x00\x00next\n"; got != want {
			t.Errorf("got %q on disk, want %q", got, want)
		}
		if len(*told) != 2 || (*told)[1] != nil {
			t.Errorf("told %v, want that it works again", *told)
		}
		syncs := d.count("sync")
		write(t, f, "later\n")
		if got := d.count("sync"); got != syncs {
			t.Error("a write waited for a disk that works again")
		}
	})
}

func TestSyncNever(t *testing.T) {
	opt, d := onFaulty(t)
	opt.Sync, opt.MaxSize = SyncNever, 8
	f := open(t, opt)
	for range 3 {
		write(t, f, "a line\n")
	}
	f.Close()
	if got := d.count("sync"); got != 0 {
		t.Errorf("got %d syncs, want none: %q", got, d.did())
	}
}

// TestFileIsOnDiskBeforeItIsLetGo: an old file and the name of its successor are synced before the
// descriptor is closed.
func TestFileIsOnDiskBeforeItIsLetGo(t *testing.T) {
	for _, c := range []struct {
		name  string
		leave func(*File) error
	}{
		{"rotation", func(f *File) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.rotateNow()
		}},
		{"moved away", func(f *File) error { return errors.Join(os.Rename(f.opt.Path, f.opt.Path+".1"), f.Reopen(f.opt)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt, d := onFaulty(t)
			opt.Sync = time.Hour
			f := open(t, opt)
			write(t, f, "a line\n")
			d.did()
			if err := c.leave(f); err != nil {
				t.Fatal(err)
			}
			done := d.did()
			synced, closed := slices.Index(done, "sync 1"), slices.Index(done, "close 1")
			named := len(done) - 1 - slices.Index(reversed(done), "sync dir")
			if synced < 0 || closed < synced || closed < named || named == len(done) {
				t.Errorf("got %q, want the file and then the directory on disk before it is closed", done)
			}
		})
	}
}

func reversed(s []string) []string {
	s = slices.Clone(s)
	slices.Reverse(s)
	return s
}
