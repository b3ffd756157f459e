package recordfile

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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
	if err := (kernel{}).rotate(f.rotation.lumberjack); err != nil {
		t.Fatal(err)
	}
	backup, _ := f.backupOf(time.Now())
	if err := os.Rename(backup, f.opt.Path); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		f.out.looked, f.keeper.asked, f.keeper.rested = time.Time{}, time.Time{}, time.Time{}
		test(t, f)
	})
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
			text := fmt.Sprintf("%06d %s\n", line, strings.Repeat("x", 20))
			write(t, f, text)
			line++
			f.keeperRests()
			if info, err := os.Stat(f.opt.Path); err != nil || info.Size() != int64(len(text)) {
				continue // the line is not the first one of its file: it was not rotated
			}
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
