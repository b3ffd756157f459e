package spool

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tcpmux/daemon/record"
	"tcpmux/internal/fuzzing"
)

// FuzzFiles: whatever the files have, what comes out are their records, in order, and the position
// ends behind all that has an end.
func FuzzFiles(tf *testing.F) {
	f := fuzzing.Fixed(tf).OneIn(10) // each makes files
	for _, s := range []string{"", "\n", recs(1, 3), recs(1, 1) + "\x00\x00" + recs(2, 1), recs(1, 2)[:200], "text\n" + recs(1, 1)} {
		f.Add([]byte(s), []byte(recs(9, 2)), int64(7))
	}
	f.Fuzz(func(t *testing.T, old, now []byte, seed int64) {
		path := filepath.Join(t.TempDir(), "records.log")
		put(t, rotatedName(path, 1), string(old))
		put(t, path, string(now))
		if seed&1 != 0 {
			pack(t, rotatedName(path, 1))
		}
		r := read(t, path)
		r.datasync = func(*os.File) error { return nil }
		got, err := r.all()
		if err != errQuiet {
			t.Fatalf("got %v", err)
		}
		if want := recordsOf(old) + recordsOf(now); got != want && !bytes.Equal(old, now) && probe(rotatedName(path, 1)).mark != probe(path).mark {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// recordsOf returns the lines of a text that are records, or that end in one behind zero bytes.
func recordsOf(text []byte) string {
	var all strings.Builder
	p := record.NewParser(record.JSON)
	for line := range bytes.Lines(text) {
		whole, ok := bytes.CutSuffix(line, []byte("\n"))
		whole = whole[bytes.LastIndexByte(whole, 0)+1:]
		if _, err := p.Parse(whole); ok && err == nil {
			fmt.Fprintf(&all, "%s\n", whole)
		}
	}
	return all.String()
}
