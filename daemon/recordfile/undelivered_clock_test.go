package recordfile

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// TestUndeliveredBackupsStayWhateverTheClock: the clock was ahead or behind by a year when files
// were rotated, and the one that is delivered last decides, not its time.
func TestUndeliveredBackupsStayWhateverTheClock(t *testing.T) {
	for _, years := range []int{-1, 1} {
		t.Run(fmt.Sprintf("%d years", years), func(t *testing.T) {
			opt := options(t)
			opt.MaxBackups, opt.MaxAge = 1, 24*time.Hour
			var planted []Backup
			for i := range 4 {
				b := Backup{Of: opt.Path, At: time.Now().UTC().AddDate(years, 0, i).Truncate(time.Millisecond)}
				if err := os.WriteFile(b.Path(), fmt.Appendf(nil, "line %d of a year\n", i), 0o600); err != nil {
					t.Fatal(err)
				}
				planted = append(planted, b)
			}
			from := markOf(t, planted[2].Path())
			opt.Undelivered = func() Undelivered { return Undelivered{From: from} }
			f := open(t, opt)
			for i := range 2 {
				write(t, f, fmt.Sprintf("line %d of now\n", i))
				if _, err := f.Rotate(); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Close(); err != nil { // it waits for a run that has begun
				t.Fatal(err)
			}
			if err := opt.rule().apply(func() bool { return false }); err != nil {
				t.Fatal(err)
			}
			left, err := Backups(opt.Path)
			if err != nil || len(left) != 4 || !slices.Equal(left[:2], planted[2:]) {
				t.Errorf("got %v, %v, want the last two of %v and two that were rotated now", left, err, planted)
			}
		})
	}
}
