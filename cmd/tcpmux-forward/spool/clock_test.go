package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tcpmux/daemon/delivery"
	"tcpmux/daemon/record"
)

const year = 365 * 24 * time.Hour

// made returns n records as lines, all made at a time.
func made(when time.Time, first, n int) string {
	e := record.NewEncoder(record.JSON)
	var b []byte
	for i := range n {
		src := &record.Source{Listener: "lab", Session: fmt.Sprintf("8f3a-%x", first+i), Remote: "192.0.2.7:40312"}
		e.Begin(src, when)
		b = e.Message(b, &record.Message{Offset: int64(first + i), Raw: fmt.Append(nil, "text ", first+i)})
	}
	return string(b)
}

// TestTheOrderIsThatOfRotationWhateverTheClock: files that the daemon has rotated are ordered by
// their names, and those that another program has numbered by their numbers, although the clock was
// set by a year between them.
func TestTheOrderIsThatOfRotationWhateverTheClock(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	times := []time.Time{now, now.Add(-year), now.Add(year), now.Add(-2 * year), now}
	for _, c := range []struct {
		name string
		file func(path string, i, n int) string // the one with index i of n
		pack bool
	}{
		{"the daemon's", func(path string, i, n int) string { return rotatedName(path, i) }, true},
		{"numbered", func(path string, i, n int) string { return fmt.Sprintf("%s.%d", path, n-1-i) }, true},
		{"from 0 on", func(path string, i, n int) string { return fmt.Sprintf("%s.%d", path, n-2-i) }, false},
		{"more than ten", func(path string, i, n int) string { return fmt.Sprintf("%s.%d", path, n-1-i+9) }, false},
	} {
		for _, from := range []int{0, 1, 3} {
			t.Run(fmt.Sprintf("%s from %d", c.name, from), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "records.log")
				want := ""
				r := read(t, path)
				var cursor delivery.Cursor
				for i, when := range times {
					put(t, path, made(when, 3*i, 3))
					if i <= from {
						r.wants(made(when, 3*i, 3))
						cursor = r.cursor()
					} else {
						want += made(when, 3*i, 3)
					}
					if i == len(times)-1 {
						break
					}
					name := c.file(path, i, len(times))
					if err := os.Rename(path, name); err != nil {
						t.Fatal(err)
					}
					if err := os.Chtimes(name, when, when); err != nil {
						t.Fatal(err)
					}
					if c.pack && i == 2 {
						pack(t, name)
					}
				}
				again := read(t, path)
				if err := again.Seek(cursor); err != nil {
					t.Fatal(err)
				}
				again.wants(want)
				r.wants(want)
			})
		}
	}
}
