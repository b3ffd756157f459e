package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tcpmux/daemon/delivery"
)

// TestAFileThatWasCut is told of, and nothing is skipped or repeated.
func TestAFileThatWasCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	put(t, path, recs(1, 3))
	r := read(t, path)
	r.wants(recs(1, 3))
	at := r.cursor()
	if err := os.Truncate(path, int64(len(recs(1, 2)))); err != nil {
		t.Fatal(err)
	}
	var shrunk *ShrunkError
	for range 3 {
		_, err := r.all()
		if !errors.As(err, &shrunk) || shrunk.Path != path || shrunk.Offset != int64(len(recs(1, 3))) || shrunk.Size != int64(len(recs(1, 2))) {
			t.Fatalf("got %v, want a ShrunkError each time", err)
		}
	}
	r.wantsError("somebody has cut it")
	if err := read(t, path).Seek(at); !errors.As(err, &shrunk) {
		t.Errorf("got %v from Seek, want a ShrunkError", err)
	}
}

// TestCopyTruncate: another program copies the file and truncates it. What was not read is in the
// copy.
func TestCopyTruncate(t *testing.T) {
	for _, name := range []string{"read on", "killed", "no copy"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "records.log")
			put(t, path, recs(1, 1))
			r := read(t, path)
			r.wants(recs(1, 1))
			at := r.cursor()
			put(t, path+".1", recs(1, 5))
			put(t, path, "") // O_TRUNC: the same inode
			add(t, path, recs(6, 4))
			switch name {
			case "killed":
				r = read(t, path)
				if err := r.Seek(at); err != nil {
					t.Fatal(err)
				}
			case "no copy":
				if err := os.Remove(path + ".1"); err != nil {
					t.Fatal(err)
				}
				r.wants(recs(6, 4))
				if len(r.faults) != 1 || !strings.Contains(r.faults[0].What, "truncated") {
					t.Errorf("got %+v, want that it was truncated", r.faults)
				}
				return
			}
			r.wants(recs(2, 8))
			if len(r.faults) > 0 {
				t.Errorf("got %+v, want no fault", r.faults)
			}
		})
	}
}

// TestTheFileOfAPositionIsGone: Seek says so, and nothing moves.
func TestTheFileOfAPositionIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	put(t, path, recs(1, 3))
	r := read(t, path)
	if _, err := r.next(1); err != nil {
		t.Fatal(err)
	}
	lost := delivery.Position{Key: delivery.KeyOf(path), Mark: "AAAAAAAAAAAAAAAA", Offset: 9}
	err := r.Seek(delivery.Cursor{lost})
	if gone, ok := errors.AsType[*GoneError](err); !ok || gone.Path != path || gone.Position != lost {
		t.Fatalf("got %v, want a GoneError", err)
	}
	r.wants(recs(2, 2))
}

// TestRenamedPath: a position goes with the file, and one of a path that is not there is kept.
func TestRenamedPath(t *testing.T) {
	dir := t.TempDir()
	path, now := filepath.Join(dir, "records.log"), filepath.Join(dir, "new.log")
	put(t, path, recs(1, 3))
	r := read(t, path)
	if _, err := r.next(2); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, now); err != nil {
		t.Fatal(err)
	}
	other := delivery.Position{Key: "01234567", Mark: "AAAAAAAAAAAAAAAA", Offset: 9}
	c := append(r.b.Cursor, other)
	r = read(t, now)
	if err := r.Seek(c); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.cursor().Find(delivery.KeyOf(now)); !ok {
		t.Errorf("got %v before it is read, want the position under the new key", r.cursor())
	}
	r.wants(recs(3, 1))
	if p, ok := r.cursor().Find(delivery.KeyOf(now)); !ok || p.Offset != int64(len(recs(1, 3))) {
		t.Errorf("got %v, want the position under the new key", r.cursor())
	}
	if p, _ := r.b.Cursor.Find(other.Key); p != other || len(r.b.Cursor) != 2 {
		t.Errorf("got %v, want %v kept", r.b.Cursor, other)
	}
}

// TestWhatIsNoFile is an error of its path, holds nothing up, and others go on.
func TestWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.log")
	put(t, good, recs(1, 2))
	link, fifo, sub := filepath.Join(dir, "link.log"), filepath.Join(dir, "fifo.log"), filepath.Join(dir, "sub.log")
	if err := errors.Join(os.Symlink(good, link), syscall.Mkfifo(fifo, 0o600), os.Mkdir(sub, 0o700)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{link: "is a symbolic link", fifo: "is not a regular file", sub: "is not a regular file",
		filepath.Join(dir, "none.log"): "", filepath.Join(dir, "none", "none.log"): "", filepath.Join(good, "none.log"): "not a directory"} {
		t.Run(filepath.Base(path), func(t *testing.T) {
			r := read(t, path, good)
			r.wants(recs(1, 2))
			r.wantsError(want)
		})
	}
}

// TestAPathThatComesLater is read from its beginning.
func TestAPathThatComesLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "records.log")
	r := read(t, path)
	r.wants("")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, path, "")
	r.wants("")
	add(t, path, recs(1, 2))
	r.wants(recs(1, 2))
}

// TestARemovedFileIsTold: the one that is read is read to its end, and one behind it is missed.
func TestARemovedFileIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	put(t, rotatedName(path, 1), recs(1, 2))
	put(t, rotatedName(path, 2), recs(3, 2))
	put(t, path, recs(5, 2))
	r := read(t, path)
	if _, err := r.next(1); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(rotatedName(path, 1)), os.Remove(rotatedName(path, 2))); err != nil {
		t.Fatal(err)
	}
	r.wants(recs(2, 1) + recs(5, 2))
	if len(r.faults) != 1 || r.faults[0].File != rotatedName(path, 2) {
		t.Errorf("got %+v, want that one file was removed", r.faults)
	}
}

// TestACrashLeavesTwo: a rotated file and its compressed one, whole or not, are one file.
func TestACrashLeavesTwo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	old := rotatedName(path, 1)
	put(t, old, recs(1, 2))
	pack(t, old)
	put(t, old, recs(1, 2))
	put(t, rotatedName(path, 2)+".gz.tmp", "\x1f\x8b")
	put(t, rotatedName(path, 2), recs(3, 2))
	put(t, path, recs(5, 1))
	read(t, path).wants(recs(1, 5))
}

// TestCompressionWhileReading replaces the file under us; a new Spool finds the place again.
func TestCompressionWhileReading(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	put(t, rotatedName(path, 1), recs(1, 100))
	put(t, path, recs(101, 1))
	r := read(t, path)
	if _, err := r.next(30); err != nil {
		t.Fatal(err)
	}
	pack(t, rotatedName(path, 1))
	if got, err := r.next(30); got != recs(31, 30) || err != nil {
		t.Fatalf("got %.100q, %v", got, err)
	}
	again := read(t, path)
	if err := again.Seek(r.b.Cursor); err != nil {
		t.Fatal(err)
	}
	again.wants(recs(61, 41))
	r.wants(recs(61, 41))
}

// TestACompressedFileThatIsDamaged is an error, and nothing is skipped.
func TestACompressedFileThatIsDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	put(t, rotatedName(path, 1), recs(1, 2000))
	pack(t, rotatedName(path, 1))
	put(t, path, recs(2001, 1))
	whole, err := os.ReadFile(rotatedName(path, 1) + ".gz")
	if err != nil {
		t.Fatal(err)
	}
	put(t, rotatedName(path, 1)+".gz", string(whole[:len(whole)-100]))
	r := read(t, path)
	got, err := r.all()
	if !strings.HasPrefix(recs(1, 2000), got) || got == "" || err != errQuiet {
		t.Fatalf("got %.100q, %v, want the beginning", got, err)
	}
	r.wantsError("unexpected EOF")
	put(t, rotatedName(path, 1)+".gz", string(whole))
	rest, err := r.all()
	for err == errQuiet && rest == "" {
		rest, err = r.all()
	}
	if got+rest != recs(1, 2001) {
		t.Errorf("got %d bytes when it was repaired, want the rest", len(rest))
	}
	r.wantsError("")
}
