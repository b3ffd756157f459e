package record

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// failing returns a function that fails the first n times.
func failing(n int, err error) func() error {
	return func() error {
		if n--; n >= 0 {
			return err
		}
		return nil
	}
}

func TestWriteThatSyncsAlways(t *testing.T) {
	for _, c := range []struct {
		name   string
		fail   func(*faulty)
		tries  int // until it succeeds
		rotate bool
	}{
		{"a disk in order", func(*faulty) {}, 1, false},
		{"fdatasync fails once", func(d *faulty) { d.syncs = failing(1, unix.EIO) }, 2, false},
		{"fdatasync fails thrice", func(d *faulty) { d.syncs = failing(3, unix.EIO) }, 4, false},
		{"the directory cannot be synced", func(d *faulty) { d.syncsOf = failing(2, unix.EIO) }, 2, false},
		{"a disk in order, rotation", func(*faulty) {}, 1, true},
		{"fdatasync fails before a rotation", func(d *faulty) { d.syncs = failing(1, unix.EIO) }, 2, true},
		{"fdatasync fails after a rotation", func(d *faulty) {
			calls := 0
			d.syncs = func() error {
				if calls++; calls == 3 { // the old file twice: before it is moved and before it is closed
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
	} {
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
				var kept strings.Builder
				for name := range d.names {
					if name != filepath.Base(opt.Path) {
						kept.WriteString(d.survives(name))
					}
				}
				if done != "" {
					kept.WriteString(d.survives(opt.Path))
				}
				if !strings.HasPrefix(kept.String(), done) {
					t.Errorf("try %d: got %q if the power went, want %q, which counts as written", tries, kept.String(), done)
				}
			}
			if got := whole(t, opt.Path); got != string(lines) || tries != c.tries {
				t.Errorf("got %q after %d tries, want %q after %d", got, tries, lines, c.tries)
			}
		})
	}
}

func TestOneSyncServesAllWhoWait(t *testing.T) {
	opt, d := onFaulty(t)
	f := open(t, opt)
	gate, begun := make(chan struct{}), make(chan struct{}, 200)
	d.syncs = func() error { begun <- struct{}{}; <-gate; return nil }
	s := NewSink(f, untroubled(t))
	var served atomic.Int32
	var done sync.WaitGroup
	open := sync.OnceFunc(func() { close(gate) })
	defer done.Wait()
	defer open() // before waiting, however the test ends
	give := func(i int) {
		done.Go(func() {
			if err := s.give(fmt.Appendf(nil, "%02d\n", i)); err != nil {
				t.Error(err)
			}
			served.Add(1)
		})
	}
	give(0)
	select {
	case <-begun:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is synced for the first one")
	}
	for i := range 99 {
		give(i + 1)
	}
	for gathered, late := 0, time.Now().Add(20*time.Second); gathered < 99*3; {
		if time.Now().After(late) {
			t.Fatalf("got %d bytes gathered while the first ones are synced, want %d", gathered, 99*3)
		}
		if s.mu.TryLock() {
			gathered = len(s.gather)
			s.mu.Unlock()
		}
		time.Sleep(time.Millisecond)
	}
	if n := served.Load(); n != 0 {
		t.Errorf("%d were served before their lines were on disk", n)
	}
	open()
	done.Wait()
	if got := d.count("sync 1"); got != 2 {
		t.Errorf("got %d fdatasyncs for 100 clients, want 2: one, then one for all that had gathered", got)
	}
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
		f, err := OpenFile(opt)
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
	next.Sync, next.Format, next.Mode = SyncNever, JSON, 0o600
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

// TestPowerLossCostsNothingThatWasCommitted: writers write through rotations and faults, and the
// power fails at any moment.
func TestPowerLossCostsNothingThatWasCommitted(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			losePowerOnce(t, rand.New(rand.NewPCG(uint64(seed), 1)))
		})
	}
}

func losePowerOnce(t *testing.T, chance *rand.Rand) {
	const writers = 8
	opt, d := onFaulty(t)
	opt.MaxSize = 2000
	var faults atomic.Uint64
	fault := func() bool { return faults.Add(0x9e3779b97f4a7c15)>>32%11 == 0 } // sometimes, from any goroutine
	d.writes = func(p []byte) (int, error) {
		if fault() {
			return len(p) * 2 / 3, unix.ENOSPC
		}
		return -1, nil
	}
	d.syncs = func() error {
		if fault() {
			return unix.EIO
		}
		return nil
	}
	d.syncsOf = d.syncs
	var committed [writers]atomic.Int64
	var promised [writers]int64 // before the power fails
	left, off := t.TempDir(), make(chan struct{})
	ticks, moment := 0, 20+chance.IntN(200)
	d.tick = func() {
		if ticks++; ticks != moment {
			return
		}
		for w := range writers {
			promised[w] = committed[w].Load()
		}
		if err := d.losePower(filepath.Dir(opt.Path), left, chance); err != nil {
			t.Error(err)
		}
		close(off)
	}
	s := NewSink(open(t, opt), func(error) {})
	var done sync.WaitGroup
	for w := range writers {
		done.Go(func() {
			for i := 0; ; i++ {
				if err := s.give(fmt.Appendf(nil, "2026-01-01T00:00:00.000000Z from %d: %d\n", w, i)); err != nil {
					return
				}
				committed[w].Store(int64(i + 1))
			}
		})
	}
	<-off
	s.Close()
	done.Wait()
	opt.Path, opt.disk = filepath.Join(left, filepath.Base(opt.Path)), nil
	write(t, open(t, opt), "2026-01-01T00:00:00.000000Z from 0: after\n")
	checkLedger(t, whole(t, opt.Path), promised[:])
}

// checkLedger checks that each writer's lines are in order and there once, that no promised line is
// missing, and that every line is whole.
func checkLedger(t *testing.T, all string, promised []int64) {
	t.Helper()
	next := make([]int64, len(promised))
	for line := range bytes.Lines([]byte(strings.TrimSuffix(all, "2026-01-01T00:00:00.000000Z from 0: after\n"))) {
		if 1 < len(line) && len(line) <= len("2026\n") && strings.HasPrefix("2026", strings.TrimSuffix(string(line), "\n")) {
			continue // part of the first line of a file may be any number, and is kept
		}
		var w int
		var i int64
		if _, err := fmt.Sscanf(string(line), "2026-01-01T00:00:00.000000Z from %d: %d\n", &w, &i); err != nil || w >= len(next) || next[w] != i {
			t.Fatalf("got %q (%v), want whole lines in order, writer %d is at %d", line, err, w, next[min(w, len(next)-1)])
		}
		next[w]++
	}
	for w := range next {
		if next[w] < promised[w] {
			t.Errorf("writer %d: got %d lines, want the %d that were committed", w, next[w], promised[w])
		}
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
		f.looked = time.Now() // no second passes
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
	if err := h.datasync(); err == nil {
		t.Error("got a closed file synced, want an error")
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

// TestABackupIsOnDiskCompressedBeforeItGoes: at any moment of a compression, a power failure leaves
// the backup or its compressed file. The bytes are on disk before they get the name, and the name
// before the backup is removed.
func TestABackupIsOnDiskCompressedBeforeItGoes(t *testing.T) {
	d := newFaulty()
	r := rule{path: filepath.Join(t.TempDir(), "r.log"), compress: true, disk: d}
	b := Backup{Of: r.path, At: time.Unix(1700000000, 0)}
	plain, packed := b.Path(), b.Path()+packedSuffix
	if err := os.WriteFile(plain, []byte("a line\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	synced, named := false, false
	d.step = func(what string) error {
		_, err := os.Lstat(plain)
		if err != nil {
			t.Errorf("%s: the file is gone already", what)
		}
		switch what {
		case "write":
			synced = false
		case "sync":
			synced = true
		case "rename":
			if !synced {
				t.Error("it gets the name before its bytes are on disk")
			}
		case "sync dir":
			_, err := os.Lstat(packed)
			named = err == nil
		}
		return nil
	}
	if err := r.apply(func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	if !named {
		t.Error("the file went before the name of the compressed one was on disk")
	}
	d.step = nil
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(r.path), "*")); !slices.Equal(left, []string{packed}) {
		t.Errorf("got %q, want %q", left, packed)
	}
	if got := d.survives(packed); len(got) == 0 || got != read(t, packed) {
		t.Errorf("got %q on disk, want all that was compressed", got)
	}
}

// TestACompressionThatFailsLosesNothing fails each single step of a compression, and then tries it
// again.
func TestACompressionThatFailsLosesNothing(t *testing.T) {
	for fails := 1; ; fails++ {
		d := newFaulty()
		r := rule{path: filepath.Join(t.TempDir(), "r.log"), compress: true, disk: d}
		plain := Backup{Of: r.path, At: time.Unix(1700000000, 0)}.Path()
		if err := os.WriteFile(plain, []byte("a line\n"), 0o640); err != nil {
			t.Fatal(err)
		}
		step, failed := 0, ""
		d.step = func(what string) error {
			if step++; step == fails {
				failed = what
				return unix.ENOSPC
			}
			return nil
		}
		err := r.apply(func() bool { return false })
		if (err != nil) != (failed != "") {
			t.Errorf("%q failed: got %v, want an error in that case only", failed, err)
		}
		if _, serr := os.Lstat(plain); err != nil && serr != nil {
			t.Errorf("%q failed: the file went: %v", failed, serr)
		}
		if err := r.apply(func() bool { return false }); err != nil {
			t.Errorf("%q failed: got %v the next time", failed, err)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(r.path), "*")); !slices.Equal(left, []string{plain + packedSuffix}) {
			t.Errorf("%q failed: got %q, want the compressed one alone", failed, left)
		}
		if err := os.WriteFile(r.path, nil, 0o640); err != nil {
			t.Fatal(err)
		}
		if got, want := whole(t, r.path), "a line\n"; got != want {
			t.Errorf("%q failed: got %q, want %q", failed, got, want)
		}
		if failed == "" {
			return
		}
	}
}
