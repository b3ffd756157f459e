package recordfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeClock is a clock that a test sets.
type fakeClock struct{ at time.Time }

// timed returns options for a file that is rotated by a clock, which shows 10:05 on a Wednesday.
func timed(t *testing.T, p Period) (Options, *fakeClock) {
	c := &fakeClock{time.Date(2026, 3, 25, 10, 5, 0, 0, zone(t, "Europe/Berlin"))}
	opt := options(t)
	opt.Rotate, opt.clock = p, func() time.Time { return c.at }
	return opt, c
}

// tick calls Tick, and waits for what it does.
func (f *File) tick() {
	f.Tick()
	f.mu.Lock()
	defer f.mu.Unlock()
}

// contents returns the contents of the backups and of the file, each line end as a slash.
func contents(t *testing.T, path string) (all []string) {
	t.Helper()
	backups, err := Backups(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range backups {
		all = append(all, b.Path())
	}
	all = append(all, path)
	for i, p := range all {
		all[i] = strings.ReplaceAll(read(t, p), "\n", "/")
	}
	return all
}

func wantContents(t *testing.T, what string, opt Options, want ...string) {
	t.Helper()
	if got := contents(t, opt.Path); !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// TestRotationByTime writes, ticks and sets the clock. Each step has the contents of the files
// afterwards, the oldest first.
func TestRotationByTime(t *testing.T) {
	const tick = ""
	type step struct {
		clock string // "": as before
		line  string // tick: none, but a tick
		want  []string
	}
	for _, c := range []struct {
		name   string
		period Period
		steps  []step
	}{
		{"before the first line of an hour", Hourly, []step{
			{"2026-03-25 10:59:59", "a", []string{"a/"}},
			{"2026-03-25 11:00:00", "b", []string{"a/", "b/"}},
			{"2026-03-25 11:30:00", "c", []string{"a/", "b/c/"}},
			{"2026-03-25 12:00:00", "d", []string{"a/", "b/c/", "d/"}},
		}},
		{"without traffic, and an empty file never", Hourly, []step{
			{"", "a", []string{"a/"}},
			{"2026-03-25 10:59:59", tick, []string{"a/"}},
			{"2026-03-25 11:00:00", tick, []string{"a/", ""}},
			{"2026-03-25 12:00:00", tick, []string{"a/", ""}},
			{"2026-03-25 13:00:00", tick, []string{"a/", ""}},
			{"2026-03-25 13:10:00", "b", []string{"a/", "b/"}},
			{"2026-03-25 14:00:00", tick, []string{"a/", "b/", ""}},
		}},
		{"an empty file begins with its first line", Hourly, []step{
			{"2026-03-25 12:30:00", "a", []string{"a/"}},
			{"2026-03-25 12:40:00", "b", []string{"a/b/"}},
			{"2026-03-25 13:00:00", "c", []string{"a/b/", "c/"}},
		}},
		{"asleep over several days", Daily, []step{
			{"", "a", []string{"a/"}},
			{"2026-03-28 09:00:00", tick, []string{"a/", ""}},
			{"", "b", []string{"a/", "b/"}},
			{"2026-03-28 23:59:59", tick, []string{"a/", "b/"}},
			{"2026-03-29 00:00:00", tick, []string{"a/", "b/", ""}},
		}},
		{"a day of 23 hours", Daily, []step{
			{"2026-03-29 00:00:01", "a", []string{"a/"}},
			{"2026-03-29 23:59:59", "b", []string{"a/b/"}},
			{"2026-03-30 00:00:00", "c", []string{"a/b/", "c/"}},
		}},
		{"weeks", Weekly, []step{
			{"2026-03-29 23:59:59", "a", []string{"a/"}},
			{"2026-03-30 00:00:00", tick, []string{"a/", ""}},
			{"2026-04-05 23:59:59", "b", []string{"a/", "b/"}},
			{"2026-04-06 00:00:00", "c", []string{"a/", "b/", "c/"}},
		}},
		{"a clock set back waits for the end that was due", Hourly, []step{
			{"2026-03-25 10:59:00", "a", []string{"a/"}},
			{"2026-03-25 10:10:00", "b", []string{"a/b/"}},
			{"2026-03-25 10:59:59", tick, []string{"a/b/"}},
			{"2026-03-25 11:00:00", "c", []string{"a/b/", "c/"}},
			{"2026-03-25 10:59:00", "d", []string{"a/b/", "c/d/"}},
			{"2026-03-25 11:00:00", "e", []string{"a/b/", "c/d/e/"}},
			{"2026-03-25 12:00:00", "f", []string{"a/b/", "c/d/e/", "f/"}},
		}},
		{"a clock that was years ahead", Hourly, []step{
			{"2036-03-25 10:10:00", "a", []string{"a/"}},
			{"2026-03-25 10:10:00", tick, []string{"a/"}},
			{"2026-03-25 10:59:59", "b", []string{"a/b/"}},
			{"2026-03-25 11:00:00", "c", []string{"a/b/", "c/"}},
		}},
		{"never", NoPeriod, []step{
			{"", "a", []string{"a/"}},
			{"2126-03-25 10:10:00", tick, []string{"a/"}},
			{"", "b", []string{"a/b/"}},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt, clock := timed(t, c.period)
			opt.Sync = SyncNever
			f := open(t, opt)
			for i, s := range c.steps {
				if s.clock != "" {
					at, err := time.ParseInLocation(time.DateTime, s.clock, clock.at.Location())
					if err != nil {
						t.Fatal(err)
					}
					clock.at = at
				}
				if f.tick(); s.line != tick {
					write(t, f, s.line+"\n")
				}
				if got := contents(t, opt.Path); !slices.Equal(got, s.want) {
					t.Fatalf("step %d, at %v: got %q, want %q", i, clock.at, got, s.want)
				}
			}
		})
	}
}

// TestTheNextLineRotates a file whose period is over, also without a tick, and by time and size at
// once.
func TestTheNextLineRotates(t *testing.T) {
	opt, clock := timed(t, Hourly)
	opt.MaxSize, opt.Sync = 5, SyncNever
	f := open(t, opt)
	write(t, f, "a\nb\n")
	clock.at = clock.at.Add(time.Hour)
	write(t, f, "c\nd\ne\n")
	clock.at = clock.at.Add(time.Minute)
	write(t, f, "f\n")
	f.tick()
	wantContents(t, "by both", opt, "a/b/", "c/d/", "e/f/")
}

// TestAFileThatIsFoundBelongsToThePeriodOfItsLastLine, also at a reload, and if its last line has
// to be mended.
func TestAFileThatIsFoundBelongsToThePeriodOfItsLastLine(t *testing.T) {
	for what, c := range map[string]struct {
		text  string
		since time.Duration
		want  []string
	}{
		"of today":             {"a\n", 10 * time.Hour, []string{"a/b/"}},
		"of yesterday":         {"a\n", 11 * time.Hour, []string{"a/", "b/"}},
		"of last year":         {"a\n", 9000 * time.Hour, []string{"a/", "b/"}},
		"of tomorrow":          {"a\n", -24 * time.Hour, []string{"a/b/"}},
		"of yesterday, broken": {"a", 11 * time.Hour, []string{"a/", "b/"}},
		"of yesterday, empty":  {"", 11 * time.Hour, []string{"b/"}},
	} {
		opt, clock := timed(t, Daily)
		opt.Sync = SyncNever
		if err := os.WriteFile(opt.Path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		last := clock.at.Add(-c.since)
		if err := os.Chtimes(opt.Path, last, last); err != nil {
			t.Fatal(err)
		}
		f := open(t, opt)
		if n := len(f.rotations(t)); n != 0 {
			t.Errorf("%s: got %d rotations, want none before the journal has looked at the file", what, n)
		}
		f.tick()
		write(t, f, "b\n")
		wantContents(t, what, opt, c.want...)
	}
}

// TestAReloadChangesThePeriod at once.
func TestAReloadChangesThePeriod(t *testing.T) {
	opt, clock := timed(t, NoPeriod)
	opt.Sync = SyncNever
	f := open(t, opt)
	write(t, f, "a\n")
	if err := os.Chtimes(opt.Path, clock.at, clock.at); err != nil {
		t.Fatal(err)
	}
	clock.at = clock.at.Add(time.Hour)
	for _, c := range []struct {
		period Period
		want   []string
	}{
		{Daily, []string{"a/"}},
		{NoPeriod, []string{"a/"}},
		{Hourly, []string{"a/", ""}},
	} {
		opt.Rotate = c.period
		if err := f.Reopen(opt); err != nil {
			t.Fatal(err)
		}
		f.tick()
		wantContents(t, "after a reload", opt, c.want...)
	}
}

// TestARotationByTimeThatFails is told, lines go on, and it is tried again.
func TestARotationByTimeThatFails(t *testing.T) {
	opt, d := onFaulty(t)
	byClock, clock := timed(t, Hourly)
	opt.Rotate, opt.clock, opt.Sync = byClock.Rotate, byClock.clock, SyncNever
	var told []error
	opt.Trouble = func(what Trouble, err error) {
		if what == Rotation {
			told = append(told, err)
		}
	}
	f := open(t, opt)
	write(t, f, "a\n")
	d.step = failingStep("open", unix.ENOSPC)
	clock.at = clock.at.Add(time.Hour)
	f.tick()
	write(t, f, "b\n")
	f.tick()
	wantContents(t, "while it fails", opt, "a/b/")
	d.step = nil
	f.rotation.tried = f.rotation.tried.Add(-time.Second) // as if a second had passed
	f.tick()
	write(t, f, "c\n")
	wantContents(t, "afterwards", opt, "a/b/", "c/")
	if len(told) != 2 || !errors.Is(told[0], unix.ENOSPC) || told[1] != nil {
		t.Errorf("told %v, want one fault and one end of it", told)
	}
}

// TestATickNeverWaits for a write that hangs, nor for a rotation that does.
func TestATickNeverWaits(t *testing.T) {
	opt, d := onFaulty(t)
	byClock, clock := timed(t, Hourly)
	opt.Rotate, opt.clock, opt.Sync = byClock.Rotate, byClock.clock, SyncNever
	hangs, goesOn := make(chan bool), make(chan bool)
	d.step = func(what string) error {
		if what == "write" || what == "rename" {
			hangs <- true
			<-goesOn
		}
		return nil
	}
	f := open(t, opt)
	written := make(chan error)
	go func() {
		_, err := f.Write([]byte("a\n"))
		written <- err
	}()
	<-hangs
	f.Tick()
	goesOn <- true
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	clock.at = clock.at.Add(time.Hour)
	f.Tick()
	<-hangs
	f.Tick()
	goesOn <- true
	f.tick()
	wantContents(t, "in the end", opt, "a/", "")
}

// TestATickOfAClosedFile does nothing.
func TestATickOfAClosedFile(t *testing.T) {
	opt, clock := timed(t, Hourly)
	f := open(t, opt)
	write(t, f, "a\n")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	clock.at = clock.at.Add(time.Hour)
	f.tick()
	wantContents(t, "closed", opt, "a/")
}

// TestAFileThatWasMovedIsNotRotated: the next one under its name begins a period of its own.
func TestAFileThatWasMovedIsNotRotated(t *testing.T) {
	opt, clock := timed(t, Hourly)
	opt.Sync = SyncNever
	f := open(t, opt)
	write(t, f, "a\n")
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(opt.Path, moved); err != nil {
		t.Fatal(err)
	}
	clock.at = clock.at.Add(time.Hour)
	f.tick()
	write(t, f, "b\n")
	wantContents(t, "under the name", opt, "b/")
	if _, err := os.Lstat(moved); errors.Is(err, fs.ErrNotExist) || read(t, moved) != "a\n" {
		t.Errorf("got the moved file with %v, want it as it was", err)
	}
}
