package recordfile

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const aDayLong, aYearLong = 24 * time.Hour, 365 * 24 * time.Hour

// look is how far the clock and the process have advanced before a look at the backups, or whether
// another process looks.
type look struct {
	wall, lived time.Duration
	restarts    bool
}

const monthLong = 30 * aDayLong

var agesCases = []struct {
	name  string
	named time.Duration // when the backup is named, from the first look on
	looks []look
	limit time.Duration
	want  time.Duration
}{
	{"it is as old as its name says", -5 * aDayLong, nil, monthLong, 5 * aDayLong},
	{"it is named by a time to come", 70 * aYearLong, nil, monthLong, 0},
	{"and grows old all the same", 70 * aYearLong, []look{{aDayLong, aDayLong, false}, {aDayLong, aDayLong, false}}, monthLong, 2 * aDayLong},
	{"time passes", 0, []look{{aDayLong, aDayLong, false}, {3 * aDayLong, 3 * aDayLong, false}}, monthLong, 4 * aDayLong},
	{"the clock jumps ahead", 0, []look{{10 * aYearLong, time.Hour, false}}, monthLong, aDayLong + time.Hour},
	{"a little", 0, []look{{5 * time.Hour, time.Hour, false}}, monthLong, 5 * time.Hour},
	{"the limit is short", 0, []look{{10 * aYearLong, 0, false}}, aDayLong, aDayLong / 2},
	{"the clock is set back", -aDayLong, []look{{-10 * aYearLong, time.Hour, false}}, monthLong, aDayLong + time.Hour},
	{"and ahead again", -aDayLong, []look{{-10 * aYearLong, time.Hour, false}, {10*aYearLong + time.Hour, time.Hour, false}}, monthLong, 2*aDayLong + 2*time.Hour},
	{"the daemon starts anew", -aDayLong, []look{{2 * time.Second, 0, true}}, monthLong, aDayLong + 2*time.Second},
	{"after a night", -aDayLong, []look{{8 * time.Hour, 0, true}}, monthLong, aDayLong + 8*time.Hour},
	{"after a month", -aDayLong, []look{{30 * aDayLong, 0, true}}, monthLong, 2 * aDayLong},
	{"that ran for a while", 0, []look{{2 * time.Hour, 2 * time.Hour, false}, {25 * time.Hour, 0, true}}, monthLong, 26 * time.Hour},
	{"every night for long", 0, []look{{aDayLong, 0, true}, {aDayLong, 0, true}, {aDayLong, 0, true}}, monthLong, 3 * aDayLong},
	{"with another clock", -aDayLong, []look{{-50 * aYearLong, 0, true}, {50 * aYearLong, time.Minute, false}}, monthLong, 2*aDayLong + time.Minute},
}

// TestAges: a backup ages by the time that passes, and not by jumps of the clock.
func TestAges(t *testing.T) {
	for _, c := range agesCases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), ".r.log.ages")
			now := moment{time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), time.Hour}
			b := Backup{Of: "r.log", At: now.wall.Add(c.named)}
			a := &ages{path: path, disk: kernel{}}
			again := func() {
				b.Packed = !b.Packed // it is the same backup
				if _, err := a.look([]Backup{b}, c.limit, now); err != nil {
					t.Fatal(err)
				}
			}
			again()
			for _, s := range c.looks {
				now.wall, now.lived = now.wall.Add(s.wall), now.lived+s.lived
				if s.restarts {
					a, now.lived = &ages{path: path, disk: kernel{}}, time.Second
				}
				again()
			}
			if got := a.of(b); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestAgesThatAreLostOrDamaged begin again, from the names.
func TestAgesThatAreLostOrDamaged(t *testing.T) {
	now := moment{time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), time.Hour}
	b := Backup{Of: "r.log", At: now.wall.Add(-aDayLong)}
	for text, want := range map[string]bool{"": false, "{": false, "null": true, "{}": true, `{"at":"2026-11-28T12:00:00Z"}`: true} {
		a := &ages{path: filepath.Join(t.TempDir(), ".r.log.ages"), disk: kernel{}}
		if err := os.WriteFile(a.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := a.look([]Backup{b}, aDayLong, now)
		if (err == nil) != want || err != nil && !strings.Contains(err.Error(), fmt.Sprintf("%q", a.path)) {
			t.Errorf("%q: got %v, want an error that names the file: %v", text, err, !want)
		}
		if got := a.of(b); got != aDayLong {
			t.Errorf("%q: got %v, want %v", text, got, aDayLong)
		}
		if _, err := a.look([]Backup{b}, aDayLong, now); err != nil {
			t.Errorf("%q: got %v the next time", text, err)
		}
	}
}

// TestNoJumpOfTheClockEmptiesTheArchive: when the daemon starts, the clock has jumped far, in
// either direction.
func TestNoJumpOfTheClockEmptiesTheArchive(t *testing.T) {
	for _, years := range []int{-50, 50} {
		var told []string
		r := rule{path: filepath.Join(t.TempDir(), "r.log"), age: 30 * aDayLong, clock: func(err error) { told = append(told, err.Error()) }}
		then := time.Now().UTC().AddDate(-years, 0, 0)
		saved := agesFile{then, map[string]time.Time{}}
		for i := range 5 {
			b := Backup{Of: r.path, At: then.Add(-time.Duration(i+1) * time.Hour)}
			saved.Since[b.key()] = b.At
			if err := os.WriteFile(b.Path(), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text, err := json.Marshal(saved)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.newAges().path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, want := range []bool{true, false} {
			told = nil
			if err := r.apply(func() bool { return false }); err != nil {
				t.Fatal(err)
			}
			if left, err := Backups(r.path); len(left) != 5 {
				t.Errorf("%d years: got %d backups left, %v, want 5", years, len(left), err)
			}
			if got := strings.Contains(strings.Join(told, "\n"), fmt.Sprintf("record file %q: the clock has ", r.path)); got != want {
				t.Errorf("%d years: told %q, want that the clock has jumped: %v", years, told, want)
			}
		}
	}
}

// TestABackupNamedByATimeToComeIsTold once, while it exists.
func TestABackupNamedByATimeToComeIsTold(t *testing.T) {
	var told []error
	r := rule{path: filepath.Join(t.TempDir(), "r.log"), clock: func(err error) { told = append(told, err) }}
	r.ages = r.newAges()
	b := Backup{Of: r.path, At: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, c := range []struct{ there, tells bool }{{false, false}, {true, true}, {true, false}, {false, false}, {true, true}} {
		told = nil
		if c.there {
			if err := os.WriteFile(b.Path(), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		} else {
			_ = os.Remove(b.Path()) // it does not exist at first
		}
		if err := r.apply(func() bool { return false }); err != nil {
			t.Fatal(err)
		}
		if c.tells != (len(told) == 1) {
			t.Errorf("%+v: told %v", c, told)
		}
	}
	if want := "a rotated file is named by a time to come, 2099-01-01T00:00:00Z"; !strings.Contains(told[0].Error(), want) {
		t.Errorf("got %v, want %s", told[0], want)
	}
}

// TestWithoutALimitOfAgeNothingIsSaved, and saved ages are removed.
func TestWithoutALimitOfAgeNothingIsSaved(t *testing.T) {
	r := rule{path: filepath.Join(t.TempDir(), "r.log"), age: aDayLong}
	for _, c := range []struct {
		age  time.Duration
		want bool
	}{{0, false}, {aDayLong, true}, {0, false}} {
		r.age = c.age
		if err := r.apply(func() bool { return false }); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(r.newAges().path); (err == nil) != c.want {
			t.Errorf("max_age %v: got %v, want a file: %v", c.age, err, c.want)
		}
	}
}
