package recordfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCompressionLeavesMinFree: compression leaves the configured space free too.
func TestCompressionLeavesMinFree(t *testing.T) {
	for _, c := range []struct {
		name    string
		minFree int64
		want    string // what is left of the backup
		err     string
	}{
		{"nothing is left to others", 0, "r-2026-01-01T00-00-00.000.log.gz", ""},
		{"there is room", 1, "r-2026-01-01T00-00-00.000.log.gz", ""},
		{"there is none", 1 << 60, "r-2026-01-01T00-00-00.000.log", "too few beside the 1152921504606846976 that min_free leaves to others"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "r-2026-01-01T00-00-00.000.log"), []byte("line\n"), 0o640); err != nil {
				t.Fatal(err)
			}
			err := rule{path: filepath.Join(dir, "r.log"), compress: true, minFree: c.minFree}.apply(func() bool { return false })
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, want %q", err, c.err)
			}
			left, _ := os.ReadDir(dir)
			if len(left) != 1 || left[0].Name() != c.want {
				t.Errorf("got %v left, want %q", left, c.want)
			}
		})
	}
}

// TestABackupIsOnDiskCompressedBeforeItGoes: at any moment of a compression, a power failure leaves
// the backup or its compressed file. The bytes are on disk before they get the name, and the name
// before the backup is removed.
func TestABackupIsOnDiskCompressedBeforeItGoes(t *testing.T) {
	d := newFaulty()
	r := rule{path: filepath.Join(t.TempDir(), "r.log"), compress: true, disk: d}
	b := Backup{Of: r.path, At: time.Unix(1700000000, 0)}
	plain, packed := b.Path(), b.Path()+packedSuffix
	if err := os.WriteFile(plain, []byte("a line\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	synced, named := false, false
	d.step = func(what string) error {
		_, err := os.Lstat(plain)
		if err != nil {
			t.Errorf("%s: the file is gone already", what)
		}
		switch what {
		case "write":
			synced = false
		case "sync":
			synced = true
		case "rename":
			if !synced {
				t.Error("it gets the name before its bytes are on disk")
			}
		case "sync dir":
			_, err := os.Lstat(packed)
			named = err == nil
		}
		return nil
	}
	if err := r.apply(func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	if !named {
		t.Error("the file went before the name of the compressed one was on disk")
	}
	d.step = nil
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(r.path), "*")); !slices.Equal(left, []string{packed}) {
		t.Errorf("got %q, want %q", left, packed)
	}
	if got := d.survives(packed); len(got) == 0 || got != read(t, packed) {
		t.Errorf("got %q on disk, want all that was compressed", got)
	}
}

// TestACompressionThatFailsLosesNothing fails each single step of a compression, and then tries it
// again.
func TestACompressionThatFailsLosesNothing(t *testing.T) {
	for fails := 1; ; fails++ {
		d := newFaulty()
		r := rule{path: filepath.Join(t.TempDir(), "r.log"), compress: true, disk: d}
		plain := Backup{Of: r.path, At: time.Unix(1700000000, 0)}.Path()
		if err := os.WriteFile(plain, []byte("a line\n"), 0o640); err != nil {
			t.Fatal(err)
		}
		step, failed := 0, ""
		d.step = func(what string) error {
			if step++; step == fails {
				failed = what
				return unix.ENOSPC
			}
			return nil
		}
		err := r.apply(func() bool { return false })
		if (err != nil) != (failed != "") {
			t.Errorf("%q failed: got %v, want an error in that case only", failed, err)
		}
		if _, serr := os.Lstat(plain); err != nil && serr != nil {
			t.Errorf("%q failed: the file went: %v", failed, serr)
		}
		if err := r.apply(func() bool { return false }); err != nil {
			t.Errorf("%q failed: got %v the next time", failed, err)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(r.path), "*")); !slices.Equal(left, []string{plain + packedSuffix}) {
			t.Errorf("%q failed: got %q, want the compressed one alone", failed, left)
		}
		if err := os.WriteFile(r.path, nil, 0o640); err != nil {
			t.Fatal(err)
		}
		if got, want := whole(t, r.path), "a line\n"; got != want {
			t.Errorf("%q failed: got %q, want %q", failed, got, want)
		}
		if failed == "" {
			return
		}
	}
}
