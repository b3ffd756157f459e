package spool

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tcpmux/daemon/delivery"
	"tcpmux/daemon/record"
	"tcpmux/daemon/recordfile"
	"tcpmux/internal/fuzzing"
)

// errQuiet is what Fill returns in a test when there was nothing for long.
var errQuiet = errors.New("there is nothing more")

// timed has a Spool live in a time of its own, which passes only while it waits. A wait for a sync
// takes as long as that does. When nothing came in five seconds, Fill returns errQuiet.
func timed(s *Spool) *Spool {
	now := time.Unix(1_900_000_000, 0)
	s.now = func() time.Time { return now }
	var waited time.Duration
	var last delivery.Cursor
	s.pause = func(ctx context.Context, d time.Duration) error {
		syncs := false // that Fill has not seen the end of
		for _, l := range s.lanes {
			if l.src == nil || l.src.sync == nil {
				continue
			}
			if syncs = true; !l.src.sync.over() {
				<-s.wake
				return nil
			}
			if l.isDue(now) {
				return nil // the sync has ended since Fill has looked
			}
		}
		if c := s.cursor(); fmt.Sprint(c) != fmt.Sprint(last) {
			last, waited = c, 0
		}
		d = max(d, time.Millisecond)
		now, waited = now.Add(d), waited+d
		if waited > 5*time.Second && !syncs {
			waited = 0
			return errQuiet
		}
		return ctx.Err()
	}
	return s
}

// world is record files that are written, and a Spool that reads them.
type world struct {
	t     rapid.TB
	paths []string
	files []*recordfile.File
	enc   *record.Encoder
	wrote [][]string // lines by path
	got   [][]string
	s     *Spool
	n     int // records so far
	clock time.Time
	// points are cursors that a kill may go back to, with how many lines of each path were
	// before them.
	points []point
	faults int
}

type point struct {
	cursor delivery.Cursor
	got    []int
}

func newWorld(t rapid.TB, dir string, opt recordfile.Options, paths int) *world {
	w := &world{t: t, enc: record.NewEncoder(record.JSON), points: []point{{got: make([]int, paths)}}}
	for i := range paths {
		opt.Path = filepath.Join(dir, fmt.Sprintf("records%d.log", i))
		f, err := recordfile.Open(opt)
		if err != nil {
			t.Fatal(err)
		}
		w.paths, w.files = append(w.paths, opt.Path), append(w.files, f)
	}
	w.wrote, w.got = make([][]string, paths), make([][]string, paths)
	w.open(nil)
	return w
}

// options are those of small files.
func options(size int64, compress bool) recordfile.Options {
	return recordfile.Options{Mode: 0o600, MaxSize: size, Compress: compress, Sync: recordfile.SyncNever, Format: record.JSON}
}

// line returns a record with n bytes of data.
func (w *world) line(n int) string {
	w.n++
	src := &record.Source{Listener: "lab", Session: fmt.Sprintf("8f3a-%x", w.n), Remote: "192.0.2.7:40312"}
	if now := time.Now(); now.After(w.clock) {
		w.clock = now
	}
	w.clock = w.clock.Add(time.Microsecond) // no two records have one time
	w.enc.Begin(src, w.clock)
	raw := []byte(strings.Repeat("x", n) + fmt.Sprint(w.n))
	return string(w.enc.Message(nil, &record.Message{Offset: int64(w.n), Raw: raw}))
}

func (w *world) write(path int, n, size int) {
	var text strings.Builder
	for range n {
		line := w.line(size)
		w.wrote[path] = append(w.wrote[path], strings.TrimSuffix(line, "\n"))
		text.WriteString(line)
	}
	if m, err := w.files[path].Write([]byte(text.String())); err != nil || m != text.Len() {
		w.t.Fatalf("got %d, %v, want %d bytes written", m, err, text.Len())
	}
}

// open replaces the Spool by another one that goes on at c.
func (w *world) open(c delivery.Cursor) {
	if w.s != nil {
		if err := w.s.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
	w.s = timed(Open(Options{Paths: w.paths, Fault: func(f Fault) { w.faults++; w.t.Logf("fault: %+v", f) }}))
	w.s.datasync = func(*os.File) error { return nil }
	if err := w.s.Seek(c); err != nil {
		w.t.Fatalf("seek %v: %v", c, err)
	}
}

// fill reads a batch and checks it. It reports whether there was anything.
func (w *world) fill(b *Batch, records int, size int64) bool {
	err := w.s.Fill(context.Background(), b, records, size)
	if errors.Is(err, errQuiet) {
		return false
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if len(b.Records) > records || b.Bytes > size && len(b.Records) > 1 {
		w.t.Fatalf("got %d records of %d bytes, want %d and %d at most", len(b.Records), b.Bytes, records, size)
	}
	cursor := append(delivery.Cursor(nil), w.points[len(w.points)-1].cursor...)
	for _, r := range b.Records {
		i := w.path(r.End.Key)
		w.got[i] = append(w.got[i], string(r.Line))
		at := len(w.got[i]) - 1
		if at >= len(w.wrote[i]) || w.wrote[i][at] != string(r.Line) {
			w.t.Fatalf("%s: got record %d %q, want %q", w.paths[i], at, r.Line, append(w.wrote[i], "", "")[min(at, len(w.wrote[i]))])
		}
		cursor = append(delivery.Cursor(nil), cursor...).With(r.End)
		w.point(cursor)
	}
	w.point(b.Cursor)
	return true
}

func (w *world) point(c delivery.Cursor) {
	got := make([]int, len(w.got))
	for i := range got {
		got[i] = len(w.got[i])
	}
	w.points = append(w.points, point{append(delivery.Cursor(nil), c...), got})
}

func (w *world) path(key delivery.Key) int {
	for i, p := range w.paths {
		if delivery.KeyOf(p) == key {
			return i
		}
	}
	w.t.Fatalf("no path has key %s", key)
	return 0
}

// kill has the Spool end, and another one go on at one of the points.
func (w *world) kill(at int) {
	w.points = w.points[:at+1]
	for i, n := range w.points[at].got {
		w.got[i] = w.got[i][:n]
	}
	w.open(w.points[at].cursor)
}

// settle reads all that there is, and checks that it is all.
func (w *world) settle() {
	for b := new(Batch); w.fill(b, 100, 1<<20); {
	}
	for i := range w.wrote {
		if len(w.got[i]) != len(w.wrote[i]) {
			ls, err := w.s.list(w.s.lanes[i])
			w.t.Fatalf("%s: got %d records, want %d; lag %+v\n%v\nown %+v\nforeign %+v", w.paths[i], len(w.got[i]), len(w.wrote[i]),
				w.s.Lag(w.s.cursor()), err, ls.own, ls.foreign())
		}
	}
	for _, f := range w.s.Lag(w.s.cursor()) {
		if f.Lag != 0 || f.Error != "" {
			w.t.Fatalf("got lag %+v, want none", f)
		}
	}
}

// begun makes sure that reading a path has begun, and that no kill takes it back before that:
// without a position, only files that the daemon has rotated are read. It reports whether there is
// anything.
func (w *world) begun(path int) bool {
	if len(w.wrote[path]) == 0 {
		return false
	}
	key, b := delivery.KeyOf(w.paths[path]), new(Batch)
	for {
		for i, p := range w.points {
			if _, ok := p.cursor.Find(key); ok {
				w.points = w.points[i:]
				return true
			}
		}
		if !w.fill(b, 10, 10_000) {
			w.t.Fatalf("%s: got nothing", w.paths[path])
		}
	}
}

// moveAway has another program rotate a file, as logrotate does: older ones get the next number. It
// may compress what it rotated before.
func (w *world) moveAway(path int, compress bool) {
	name := w.paths[path]
	older, _ := filepath.Glob(name + ".*") // the pattern is good
	for n := len(older); n > 0; n-- {
		for _, ext := range []string{"", ".gz"} {
			_ = os.Rename(fmt.Sprintf("%s.%d%s", name, n, ext), fmt.Sprintf("%s.%d%s", name, n+1, ext)) // most are not there
		}
	}
	if err := os.Rename(name, name+".1"); err != nil {
		w.t.Fatal(err)
	}
	if err := w.files[path].Follow(); err != nil {
		w.t.Fatal(err)
	}
	if _, err := os.Stat(name + ".2"); err == nil && compress {
		pack(w.t, name+".2")
	}
}

// pack compresses a file.
func pack(t rapid.TB, name string) {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err = z.Write(text)
	info, serr := os.Stat(name)
	err = errors.Join(err, serr, z.Close(), os.WriteFile(name+".gz", b.Bytes(), 0o600))
	if err == nil {
		err = errors.Join(os.Chtimes(name+".gz", info.ModTime(), info.ModTime()), os.Remove(name))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func init() { fuzzing.FixRapid() }

// seldom has rapid.Check draw fewer values, unless a flag says how many: each is a life of files.
func seldom(t *testing.T) {
	const checks, usual = "rapid.checks", "100"
	if flag.Lookup(checks).Value.String() != usual {
		return
	}
	if err := flag.Set(checks, "40"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set(checks, usual) }) // it was valid before
}

// TestEachRecordOnceWhateverHappensToTheFiles writes, rotates, compresses, renames, reads and kills
// at random. Each record comes once, in the order of its path, byte for byte.
func TestEachRecordOnceWhateverHappensToTheFiles(t *testing.T) {
	seldom(t)
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		opt := options(rapid.Int64Range(200, 4000).Draw(rt, "size"), rapid.Bool().Draw(rt, "compress"))
		w := newWorld(rt, dir, opt, rapid.IntRange(1, 3).Draw(rt, "paths"))
		path := rapid.IntRange(0, len(w.paths)-1)
		b := new(Batch)
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) {
				w.write(path.Draw(rt, "path"), rapid.IntRange(1, 20).Draw(rt, "n"), rapid.IntRange(0, 300).Draw(rt, "bytes"))
			},
			"write a long line": func(rt *rapid.T) {
				w.write(path.Draw(rt, "path"), 1, rapid.IntRange(1, 400_000).Draw(rt, "bytes"))
			},
			"read": func(rt *rapid.T) {
				w.fill(b, rapid.IntRange(1, 50).Draw(rt, "records"), rapid.Int64Range(1, 20_000).Draw(rt, "bytes"))
			},
			"kill": func(rt *rapid.T) { w.kill(rapid.IntRange(0, len(w.points)-1).Draw(rt, "at")) },
			"seek": func(rt *rapid.T) {
				at := rapid.IntRange(max(0, len(w.points)-20), len(w.points)-1).Draw(rt, "at")
				s := w.s
				w.s = nil
				w.kill(at)
				_ = w.s.Close()
				if w.s = s; s.Seek(w.points[at].cursor) != nil {
					rt.Fatal("cannot seek")
				}
			},
			"rename": func(rt *rapid.T) {
				i, compress := path.Draw(rt, "path"), rapid.Bool().Draw(rt, "compress")
				if w.begun(i) {
					w.moveAway(i, compress)
				}
			},
		})
		w.settle()
		for _, f := range w.files {
			_ = f.Close()
		}
		_ = w.s.Close()
		if w.faults > 0 {
			rt.Fatalf("got %d faults, want none", w.faults)
		}
	})
}
