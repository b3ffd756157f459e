package spool

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpmux/daemon/delivery"
	"tcpmux/daemon/recordfile"
)

// TestCompressedFilesAtTheirEnd hold up no other path, although nothing follows them.
func TestCompressedFilesAtTheirEnd(t *testing.T) {
	for _, bounded := range []bool{false, true} {
		t.Run(fmt.Sprintf("bounded %v", bounded), func(t *testing.T) {
			dir := t.TempDir()
			var paths []string
			for i := range maxUnpackers + 4 {
				path := filepath.Join(dir, fmt.Sprintf("records%d.log", i))
				put(t, rotatedName(path, 1), recs(10*i, 9))
				pack(t, rotatedName(path, 1))
				paths = append(paths, path)
			}
			r := read(t, paths...)
			if bounded {
				ends, err := r.Ends()
				if err != nil {
					t.Fatal(err)
				}
				r.Until(ends)
			}
			n := 0
			for err := error(nil); err == nil; {
				_, err = r.next(100)
				n += len(r.b.Records)
			}
			if want := 9 * len(paths); n != want {
				t.Errorf("got %d records, want %d", n, want)
			}
		})
	}
}

// TestLagDuringARotation shows no fault, although the directory was read before it.
func TestLagDuringARotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	put(t, path, recs(1, 5))
	r := read(t, path)
	r.wants(recs(1, 5))
	before, err := readDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, rotatedName(path, 1)); err != nil {
		t.Fatal(err)
	}
	put(t, path, recs(6, 1))
	p, _ := r.cursor().Find(delivery.KeyOf(path))
	f, _ := r.lag(r.lanes[0], p, told{}, map[string]*directory{filepath.Dir(path): before})
	if f.Error != "" || f.Lag != int64(len(recs(6, 1))) {
		t.Errorf("got lag %d and error %q, want %d and none", f.Lag, f.Error, len(recs(6, 1)))
	}
}

// TestSkippingIsInterrupted so that a large compressed file delays neither the end of a context nor
// other paths.
func TestSkippingIsInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	one := recs(1, 1)
	n := 2*skipAtOnce/len(one) + 1000
	name := rotatedName(path, 1)
	put(t, name, recs(0, 1)+strings.Repeat(one, n))
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	mark, err := recordfile.MarkOf(name)
	if err != nil {
		t.Fatal(err)
	}
	pack(t, name)
	r := read(t, path)
	p := delivery.Position{Key: delivery.KeyOf(path), Mark: mark, Offset: info.Size() - int64(len(one))}
	if err := r.Seek(delivery.Cursor{p}); err != nil {
		t.Fatal(err)
	}
	interrupted, pause := 0, r.pause
	r.pause = func(ctx context.Context, d time.Duration) error {
		if d == 0 {
			interrupted++
		}
		return pause(ctx, d)
	}
	r.wants(one)
	if interrupted < 2 {
		t.Errorf("got %d interruptions, want one for each %d bytes", interrupted, skipAtOnce)
	}
}
