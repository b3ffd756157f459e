package record

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// TestADayOfRotation writes for 24 hours, with rotation by size and removal by age, and checks
// every hour what is kept.
func TestADayOfRotation(t *testing.T) {
	for _, c := range []struct {
		name    string
		backups int
		age     time.Duration
	}{
		{"all are kept", 0, 0},
		{"by number", 7, 0},
		{"by age", 0, 3 * time.Hour},
		{"by number and age", 40, 2 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := options(t)
			opt.MaxSize, opt.MaxBackups, opt.MaxAge, opt.Sync = 300, c.backups, c.age, SyncNever
			inBubble(t, open(t, opt), func(t *testing.T, f *File) { aDay(t, f) })
		})
	}
}

// inBubble runs a test with a file that rotates in simulated time.
func inBubble(t *testing.T, f *File, test func(*testing.T, *File)) {
	t.Helper()
	f.keeperRests()
	// lumberjack's goroutine never ends: it must not begin in the bubble.
	if err := (kernel{}).rotate(f.rotator); err != nil {
		t.Fatal(err)
	}
	backup, _ := f.backupOf()
	if err := os.Rename(backup, f.opt.Path); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		f.looked, f.keeper.asked = time.Time{}, time.Time{}
		test(t, f)
	})
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

// TestATornLineIsCutOnceItCanBe: nothing is appended to a piece that could not be cut off at once.
func TestATornLineIsCutOnceItCanBe(t *testing.T) {
	opt, d := onFaulty(t)
	f := open(t, opt)
	full := failing(1, unix.ENOSPC)
	d.writes = func(p []byte) (int, error) {
		if err := full(); err != nil {
			return 7, err
		}
		return -1, nil
	}
	d.cuts = failing(2, unix.EIO)
	if n, err := f.Write([]byte("one\ntwo\n")); n != 4 || !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("got %d, %v, want 4, %v", n, err, unix.ENOSPC)
	}
	if n, err := f.Write([]byte("two\n")); n != 0 || !errors.Is(err, unix.EIO) {
		t.Errorf("got %d, %v while the piece cannot be cut off, want 0, %v", n, err, unix.EIO)
	}
	write(t, f, "two\n")
	if got, want := read(t, opt.Path), "one\ntwo\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
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

// lacks skips a test that needs something this machine lacks. In CI it fails the test, because
// nothing may be skipped there.
func lacks(t *testing.T, what, how string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s: %s", what, how)
	}
	t.Skipf("%s: %s", what, how)
}

// aDay writes numbered lines: one a minute, and sometimes many at once.
func aDay(t *testing.T, f *File) {
	var rotated []Backup // all rotations
	made := map[Backup]bool{}
	line := 0
	for minute := range 24 * 60 {
		burst := 1
		if minute%47 == 0 {
			burst = 60
		}
		for range burst {
			write(t, f, fmt.Sprintf("%06d %s\n", line, strings.Repeat("x", 20)))
			line++
			f.keeperRests()
			for _, b := range f.rotations(t) {
				if !made[b] {
					made[b] = true
					rotated = append(rotated, b)
				}
			}
		}
		time.Sleep(time.Minute)
		if minute%60 == 59 {
			f.keeper.keep(f.opt.rule())
			f.keeperRests()
			checkKept(t, f, rotated, line)
		}
	}
	if want := line * 28 / 300; len(rotated) < want {
		t.Errorf("got %d rotations, want %d or more: some overwrote others", len(rotated), want)
	}
}

// keeperRests waits until the keeper has nothing to do.
func (f *File) keeperRests() {
	f.keeper.mu.Lock()
	defer f.keeper.mu.Unlock()
	for f.keeper.running {
		f.keeper.ended.Wait()
	}
}

// rotations returns the backups.
func (f *File) rotations(t *testing.T) []Backup {
	t.Helper()
	backups, err := Backups(f.opt.Path)
	if err != nil {
		t.Fatal(err)
	}
	return backups
}

// checkKept checks that exactly the backups that the options keep exist, and that they and the file
// contain all lines from some line on.
func checkKept(t *testing.T, f *File, rotated []Backup, lines int) {
	t.Helper()
	var want []Backup
	for _, b := range rotated {
		if f.opt.MaxAge == 0 || time.Since(b.At) <= f.opt.MaxAge {
			want = append(want, b)
		}
	}
	if n := f.opt.MaxBackups; n > 0 && len(want) > n {
		want = want[len(want)-n:]
	}
	if got := f.rotations(t); !slices.Equal(got, want) {
		t.Fatalf("got %d backups, want %d: %v, want %v", len(got), len(want), got, want)
	}
	all := strings.Split(strings.TrimSuffix(whole(t, f.opt.Path), "\n"), "\n")
	for i, line := range all {
		if want := fmt.Sprintf("%06d ", lines-len(all)+i); !strings.HasPrefix(line, want) {
			t.Fatalf("got %q, want line %s: one is missing or twice", line, want)
		}
	}
	if f.opt.MaxBackups == 0 && f.opt.MaxAge == 0 && len(all) != lines {
		t.Fatalf("got %d lines, want all %d", len(all), lines)
	}
}

// TestADiskThatFillsWithinABatch: no line is torn, joined or lost, however the free space changes.
func TestADiskThatFillsWithinABatch(t *testing.T) {
	const writers, lines = 8, 200
	opt, d := onFaulty(t)
	opt.Sync, opt.MaxSize = SyncNever, 20_000
	room := 1000 // free bytes of the disk
	d.writes = func(p []byte) (int, error) {
		if room -= len(p); room >= 0 {
			return -1, nil
		}
		n := len(p) + room
		room = 777 // an administrator frees space
		return n, unix.ENOSPC
	}
	f := open(t, opt)
	torn := 0
	s := NewSink(watched{f, func(err error) {
		if b := read(t, opt.Path); err != nil && len(b) > 0 && !strings.HasSuffix(b, "\n") {
			torn++
		}
	}}, func(error) {})
	var done sync.WaitGroup
	for w := range writers {
		done.Go(func() {
			for i := range lines {
				if err := s.give(fmt.Appendf(nil, "%d: %d\n", w, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
	if torn > 0 {
		t.Errorf("the file ended within a line %d times, want it to end clean when the disk is full", torn)
	}
	var next [writers]int
	for line := range bytes.Lines([]byte(whole(t, opt.Path))) {
		var w, i int
		if _, err := fmt.Sscanf(string(line), "%d: %d\n", &w, &i); err != nil || w >= writers || next[w] != i {
			t.Fatalf("got %q (%v), want each writer's lines in order and once", line, err)
		}
		next[w]++
	}
	for w, n := range next {
		if n != lines {
			t.Errorf("writer %d: got %d of %d lines", w, n, lines)
		}
	}
}

// watched notes the result of each write.
type watched struct {
	*File
	came func(error)
}

func (w watched) Write(p []byte) (int, error) {
	n, err := w.File.Write(p)
	w.came(err)
	return n, err
}
