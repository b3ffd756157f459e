package recordfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/record"
)

// TestWhateverFailsIsTriedAgain runs all that can happen to a file, and fails each single operation
// of the disk, once and for a while. When the disk works again, so does the file, and every line is
// in it once.
func TestWhateverFailsIsTriedAgain(t *testing.T) {
	for length, err := range map[int]error{1: unix.ENOSPC, 4: unix.EMFILE} {
		failed := true
		for first := 0; failed && !t.Failed(); first++ {
			failed = aLife(t, first, first+length, err)
		}
	}
}

// aLife runs the life of a file whose disk fails with an error in the given range of steps. failed
// reports whether it came that far.
func aLife(t *testing.T, from, to int, fault error) (failed bool) {
	opt, d := onFaulty(t)
	opt.MaxSize, opt.Sync = 20, SyncAlways
	step, story := 0, []string(nil)
	d.step = func(what string) error {
		step++
		if story = append(story, what); step > from && step <= to {
			failed = true
			story[len(story)-1] += " failed"
			return fault
		}
		return nil
	}
	l := &life{t: t, d: d, dir: filepath.Dir(opt.Path)}
	l.try("open", func() (err error) { l.f, err = Open(opt); return err })
	if t.Failed() {
		return false
	}
	other := opt
	other.Path = filepath.Join(l.dir, "other.log")
	asJSON := opt
	asJSON.Format = record.JSON
	l.writes(4) // which rotates
	l.outside(func() error { return os.WriteFile(opt.Path, []byte(`{"of":"another format"}`+"\n"), 0o640) }, true)
	l.writes(2)
	l.outside(func() error { return os.Rename(opt.Path, filepath.Join(l.dir, "moved.log")) }, false)
	l.writes(2)
	l.try("change", func() error { return l.f.Reopen(asJSON) })
	l.try("change back", func() error { return l.f.Reopen(opt) })
	l.writes(1)
	l.try("reopen another", func() error { return l.f.Reopen(other) })
	l.writes(3)
	l.try("follow", l.f.Follow)
	if err := l.f.Close(); err != nil && !errors.Is(err, fault) {
		t.Errorf("close: got %v, want %v at most", err, fault)
	}
	l.check()
	if t.Failed() {
		t.Logf("%v from step %d to %d: %q", fault, from, to, story)
	}
	return failed
}

// life is the history of a file.
type life struct {
	t    *testing.T
	d    *faulty
	dir  string
	f    *File
	next int      // the number of the next line
	want []string // the lines that were written, and not taken away from outside
}

// try repeats what may fail.
func (l *life) try(what string, do func() error) {
	var err error
	for range 20 {
		if l.f != nil { // as if a second had passed
			l.f.out.looked, l.f.rotation.tried = l.f.out.looked.Add(-time.Second), l.f.rotation.tried.Add(-time.Second)
		}
		if err = do(); err == nil {
			return
		}
	}
	l.t.Errorf("%s: got %v though the disk works again", what, err)
}

// writes writes n lines of 7 bytes, each until it is written.
func (l *life) writes(n int) {
	for range n {
		line := fmt.Appendf(nil, "%06d\n", l.next)
		l.next++
		l.want = append(l.want, string(line))
		l.try("write", func() error {
			n, err := l.f.Write(line)
			line = line[n:]
			return err
		})
	}
}

// outside changes the file from outside, which may lose the lines in it.
func (l *life) outside(do func() error, costs bool) {
	if costs {
		// A rotation that failed half-way may have taken it away.
		b, _ := os.ReadFile(l.f.Path())
		l.want = slices.DeleteFunc(l.want, func(line string) bool { return strings.Contains(string(b), line) })
	}
	if err := do(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.t.Error(err)
	}
}

// check checks that every line is there once, that the file has its name, and that no other files
// are left.
func (l *life) check() {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		l.t.Fatal(err)
	}
	var names []string
	var all strings.Builder
	for _, e := range entries {
		names = append(names, e.Name())
		all.WriteString(read(l.t, filepath.Join(l.dir, e.Name())))
	}
	lines := strings.SplitAfter(all.String(), "\n")
	for _, line := range l.want {
		if n := slices.DeleteFunc(slices.Clone(lines), func(s string) bool { return s != line }); len(n) != 1 {
			l.t.Errorf("got %q %d times in %q, want it once", line, len(n), names)
		}
	}
	for _, name := range []string{"records.log", "other.log"} {
		if !slices.Contains(names, name) {
			l.t.Errorf("got %q, want %s among them", names, name)
		}
	}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			l.t.Errorf("%s was left behind", name)
		}
	}
}
