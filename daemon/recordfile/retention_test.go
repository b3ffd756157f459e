package recordfile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestRetention(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	dir := t.TempDir()
	r := rule{path: filepath.Join(dir, "r.log"), most: 3, age: 48 * time.Hour, compress: true}
	ago := func(d time.Duration) string {
		return Backup{Of: r.path, At: time.Now().Add(-d)}.Path()
	}
	keep := []string{ago(time.Hour), ago(2 * time.Hour)}
	for _, name := range append([]string{ago(72 * time.Hour), ago(100*time.Hour) + ".gz", ago(3*time.Hour) + ".gz.tmp"}, keep...) {
		if err := os.WriteFile(name, []byte("line\n"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	strangers := []string{"r.log", "r-not-a-time.log", "r-2026-01-01T00-00-00.000.txt", "other-2026-01-01T00-00-00.000.log"}
	for _, name := range strangers {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	unix.Umask(0o077)
	if err := r.apply(func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range keep {
		want = append(want, filepath.Base(name)+".gz")
	}
	want = append(append(want, strangers...), ".r.log.ages")
	entries, _ := os.ReadDir(dir)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if info, err := os.Stat(keep[0] + ".gz"); err != nil || info.Mode() != 0o640 {
		t.Errorf("got mode %v, %v, want that of the file", info.Mode(), err)
	}

	r.most = 1
	if err := r.apply(func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "r-2*.gz")); len(left) != 1 || left[0] != keep[0]+".gz" {
		t.Errorf("got %q, want only the newest", left)
	}
}

func TestBackupThatACrashLeftInTwoFormsCountsOnce(t *testing.T) {
	r := rule{path: filepath.Join(t.TempDir(), "r.log"), most: 2}
	now := time.Now()
	var want []string
	for _, b := range []Backup{{At: now}, {At: now, Packed: true}, {At: now.Add(-time.Hour)}, {At: now.Add(-2 * time.Hour)}} {
		b.Of = r.path
		want = append(want, b.Path())
		if err := os.WriteFile(b.Path(), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.apply(func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	got, err := filepath.Glob(filepath.Join(filepath.Dir(r.path), "*"))
	if want = want[:3]; err != nil || len(got) != len(want) || slices.ContainsFunc(want, func(name string) bool { return !slices.Contains(got, name) }) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestRetentionThatFailsIsToldOnce(t *testing.T) {
	var told []error
	k := newKeeper(func(what Trouble, err error) {
		if what != Retention {
			t.Errorf("told of %v, want %v", what, Retention)
		}
		told = append(told, err)
	})
	keep := func(path string) {
		k.keep(rule{path: path, most: 1})
		k.mu.Lock()
		defer k.mu.Unlock()
		for k.running {
			k.ended.Wait()
		}
	}
	for range 3 {
		keep(filepath.Join(t.TempDir(), "gone", "r.log"))
	}
	if len(told) != 1 || told[0] == nil {
		t.Errorf("told %v, want the fault once", told)
	}
	for range 2 {
		keep(filepath.Join(t.TempDir(), "r.log"))
	}
	if len(told) != 2 || told[1] != nil {
		t.Errorf("told %v, want its end once", told)
	}
}

func TestKeeperRestsAfterARun(t *testing.T) {
	k := newKeeper(untold(t))
	began := time.Now()
	k.keep(rule{path: filepath.Join(t.TempDir(), "r.log"), most: 1})
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.running {
		k.ended.Wait()
	}
	if !k.rested.After(began) {
		t.Errorf("rests until %v, want after %v", k.rested, began)
	}
}

func TestKeeperThatRestsWorksAfterwards(t *testing.T) {
	r := rule{path: filepath.Join(t.TempDir(), "r.log"), most: 1}
	synctest.Test(t, func(t *testing.T) {
		at := time.Now()
		asked := func(k *keeper) {
			for range 2 {
				at = at.Add(time.Second)
				if err := os.WriteFile(Backup{Of: r.path, At: at}.Path(), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			k.rested = time.Now().Add(time.Minute)
			k.keep(r)
		}
		after := func(pause time.Duration, want int) {
			t.Helper()
			time.Sleep(pause)
			synctest.Wait()
			if got, err := Backups(r.path); len(got) != want || err != nil {
				t.Errorf("got %v, %v, want %d backups", got, err, want)
			}
		}
		k := newKeeper(untold(t))
		asked(k)
		after(59*time.Second, 2)
		after(time.Second, 1)
		asked(k)
		began := time.Now()
		k.stop()
		if waited := time.Since(began); waited > 0 {
			t.Errorf("stop waited for %v of the rest", waited)
		}
		after(time.Hour, 3)
	})
}

// untold fails a test that is told of trouble.
func untold(t *testing.T) func(Trouble, error) {
	return func(what Trouble, err error) { t.Errorf("told of %v: %v", what, err) }
}

func TestFileIsCountedAndCompressed(t *testing.T) {
	opt := options(t)
	opt.MaxSize, opt.MaxBackups, opt.Compress = 4, 3, true
	f := open(t, opt)
	for i := range 9 {
		write(t, f, fmt.Sprintf("%03d\n", i))
	}
	want := "005\n006\n007\n008\n"
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		plain, _ := filepath.Glob(filepath.Dir(opt.Path) + "/*-*.log")
		packed, _ := filepath.Glob(filepath.Dir(opt.Path) + "/*.log.gz")
		if len(plain) == 0 && len(packed) == 3 && whole(t, opt.Path) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %q and %q, want three compressed backups and %q", plain, packed, want)
		}
	}
}
