package spool

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestADamagedFileThatIsMovedAway holds up what is behind it until then. What was not delivered of
// it is told, and where.
func TestADamagedFileThatIsMovedAway(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(packed string) string
	}{
		{"its end is missing", func(packed string) string { return packed[:len(packed)-100] }},
		{"in the middle", func(packed string) string {
			return packed[:len(packed)-200] + strings.Repeat("\xff", 100) + packed[len(packed)-100:]
		}},
		{"at its beginning", func(packed string) string { return packed[:12] + strings.Repeat("\xff", 100) + packed[112:] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "records.log")
			put(t, rotatedName(path, 1), recs(1, 3))
			r := read(t, path)
			r.wants(recs(1, 3))
			bad := rotatedName(path, 2)
			put(t, bad, recs(4, 2000))
			pack(t, bad)
			bad += ".gz"
			packed, err := os.ReadFile(bad)
			if err != nil {
				t.Fatal(err)
			}
			put(t, bad, c.damage(string(packed)))
			put(t, rotatedName(path, 3), recs(2004, 2))
			put(t, path, recs(2006, 2))
			got, err := r.all()
			if !strings.HasPrefix(recs(4, 2000), got) || err != errQuiet {
				t.Fatalf("got %.100q, %v, want the beginning of the damaged file", got, err)
			}
			r.wantsError(bad)
			r.wantsError("move it away while tcpmux-forward runs")
			if len(r.faults) > 0 {
				t.Errorf("got %+v, want nothing given up", r.faults)
			}
			if err := os.Rename(bad, filepath.Join(t.TempDir(), "bad.gz")); err != nil {
				t.Fatal(err)
			}
			rest, err := r.all()
			for try := 0; rest == "" && err == errQuiet && try < 5; try++ {
				rest, err = r.all() // a file that is damaged is looked at less often
			}
			if want := recs(2004, 4); rest != want || err != errQuiet {
				t.Errorf("got %.300q, %v, want %q", rest, err, want)
			}
			if len(r.faults) != 1 || r.faults[0].File != bad || r.faults[0].Offset != int64(len(got)) {
				t.Errorf("got %+v, want that the rest of %q behind %d is not delivered", r.faults, bad, len(got))
			}
			r.wantsError("")
		})
	}
}
