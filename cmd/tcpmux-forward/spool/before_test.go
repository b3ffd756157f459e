package spool

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestAFileThatIsNotOnDiskIsInNoCursor because a power failure may take it back, and another one
// with other records comes in its place.
func TestAFileThatIsNotOnDiskIsInNoCursor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	put(t, path, recs(1, 3))
	r := read(t, path)
	r.wants(recs(1, 3))
	if err := os.Rename(path, rotatedName(path, 1)); err != nil {
		t.Fatal(err)
	}
	put(t, path, recs(4, 2))
	sync := r.datasync
	r.datasync = func(f *os.File) error {
		if f.Name() == path {
			return errors.New("the power fails before")
		}
		return sync(f)
	}
	r.wants("")
	if r.lanes[0].src.name != path {
		t.Fatalf("got %q open, want the new file", r.lanes[0].src.name)
	}
	at := r.cursor()
	put(t, path, recs(10, 2))
	after := read(t, path)
	if err := after.Seek(at); err != nil {
		t.Fatal(err)
	}
	after.wants(recs(10, 2))
}
