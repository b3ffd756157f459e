package spool

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpmux/daemon/delivery"
)

// TestOpenFiles reads files in the order given, and ends.
func TestOpenFiles(t *testing.T) {
	dir := t.TempDir()
	name := func(s string) string { return filepath.Join(dir, s) }
	put(t, name("b"), recs(1, 3))
	put(t, name("a"), recs(4, 3)+`{"torn`)
	pack(t, name("a"))
	put(t, name("empty"), "")
	put(t, name("c"), recs(7, 1))
	files := []string{name("b"), name("empty"), name("a.gz"), name("b"), name("c")}
	open := func() *reader {
		s, err := OpenFiles(files, Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := &reader{Spool: timed(s), t: t}
		t.Cleanup(func() { r.Close() })
		return r
	}
	r := open()
	if got, err := r.all(); got != recs(1, 7) || err != io.EOF {
		t.Fatalf("got %q, %v, want %q and the end", got, err, recs(1, 7))
	}
	end := r.b.Cursor
	if ends, err := r.Ends(); err != nil || len(ends) != 1 || ends[0] != end[0] {
		t.Errorf("got ends %v, %v, want %v", ends, err, end)
	}
	again := open()
	other := delivery.Position{Key: "01234567", Mark: end[0].Mark, Offset: 1}
	if err := again.Seek(append(end, other)); err != nil {
		t.Fatal(err)
	}
	if got, err := again.all(); got != "" || err != io.EOF || len(again.b.Cursor) != 2 {
		t.Errorf("got %q, %v, %v, want nothing and two positions", got, err, again.b.Cursor)
	}
	if _, err := OpenFiles([]string{name("none")}, Options{}); err == nil {
		t.Error("got no error for a file that is not there")
	}
}

// TestUntil ends where it should, also over Seek, and for paths that have nothing.
func TestUntil(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one.log"), filepath.Join(dir, "two.log")
	put(t, rotatedName(one, 1), recs(1, 2))
	put(t, one, recs(3, 2)+"torn")
	r := read(t, one, two)
	ends, err := r.Ends()
	if err != nil {
		t.Fatal(err)
	}
	r.Until(ends)
	add(t, one, "\n"+recs(5, 2))
	put(t, two, recs(7, 1))
	if got, err := r.all(); got != recs(1, 4) || err != io.EOF {
		t.Fatalf("got %q, %v, want %q and the end", got, err, recs(1, 4))
	}
	end := r.b.Cursor
	if err := os.Rename(one, rotatedName(one, 9)); err != nil {
		t.Fatal(err)
	}
	put(t, one, recs(8, 1))
	for _, c := range []delivery.Cursor{end, {{Key: delivery.KeyOf(one), Mark: probe(one).mark}}} {
		r = read(t, one, two)
		r.Until(ends)
		if err := r.Seek(c); err != nil {
			t.Fatal(err)
		}
		if got, err := r.all(); got != "" || err != io.EOF {
			t.Errorf("got %q, %v behind the end, want nothing", got, err)
		}
	}
}

// TestTurns: a path with much does not hold up one with little, and a long line is not put off for
// ever.
func TestTurns(t *testing.T) {
	dir := t.TempDir()
	much, long := filepath.Join(dir, "much.log"), filepath.Join(dir, "long.log")
	put(t, much, recs(1, 1000))
	line := strings.Replace(recs(0, 1), "text", strings.Repeat("x", 3<<20), 1)
	put(t, long, line)
	r := read(t, much, long)
	var got []int
	for range 4 {
		if _, err := r.next(100); err != nil {
			t.Fatal(err)
		}
		got = append(got, len(r.b.Records))
	}
	if fmt.Sprint(got) != "[100 1 100 100]" {
		t.Errorf("got batches of %v, want the long line to be the second", got)
	}

	// What does not fit into a batch is the first of the next.
	few := filepath.Join(dir, "few.log")
	put(t, few, recs(1, 10))
	r = read(t, few, long)
	for _, l := range r.lanes { // so that all is durable
		for l.src == nil || l.src.durable == 0 {
			r.wait(l)
		}
	}
	for i, want := range []string{recs(1, 10), line} {
		if got, err := r.next(100); got != want || err != nil {
			t.Errorf("batch %d: got %d bytes, %v, want %d", i, len(got), err, len(want))
		}
		add(t, few, recs(11, 10))
		r.wait(r.lanes[0])
	}
}

// wait has a file become durable.
func (r *reader) wait(l *lane) {
	now := r.now()
	if l.src == nil {
		if _, err := r.open(l, now); err != nil {
			r.t.Fatal(err)
		}
	}
	l.src.nextSync, l.next = time.Time{}, time.Time{}
	err := l.src.refresh(now, 0, func(_ *os.File, c *syncing) { c.finished = true; close(c.done) })
	if err == nil {
		err = l.src.refresh(now, 0, nil)
	}
	l.src.nextSync, l.tried = time.Time{}, -1
	if err != nil {
		r.t.Fatal(err)
	}
}

// TestLag counts what is behind a cursor, uncompressed.
func TestLag(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	put(t, rotatedName(path, 1), recs(1, 100))
	pack(t, rotatedName(path, 1))
	put(t, rotatedName(path, 200), recs(101, 100))
	put(t, path, recs(201, 10)+"torn")
	r := read(t, path)
	check := func(c delivery.Cursor, file string, lag int, oldest int64) {
		t.Helper()
		f := r.Lag(c)[0]
		if f.Lag != int64(lag) || f.File != file || f.Path != path || f.Error != "" {
			t.Errorf("got %+v, want %d in %s", f, lag, file)
		}
		if got := r.Oldest(); oldest == 0 && !got.IsZero() || oldest > 0 && got.Unix() != 1_800_000_000+oldest {
			t.Errorf("got oldest %v, want that of record %d", got, oldest)
		}
	}
	check(nil, rotatedName(path, 1)+".gz", len(recs(1, 210)), 1)
	if _, err := r.next(50); err != nil {
		t.Fatal(err)
	}
	check(r.b.Cursor, rotatedName(path, 1)+".gz", len(recs(51, 160)), 50)
	for range 3 {
		if _, err := r.next(50); err != nil {
			t.Fatal(err)
		}
	}
	half := r.b.Records[48].End
	check(delivery.Cursor{half}, rotatedName(path, 200), len(recs(200, 11)), 200)
	r.wants(recs(201, 10))
	check(r.b.Cursor, path, 0, 0)
}

// TestMemoryOfALongLine is given back, and only one is held.
func TestMemoryOfALongLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	line := strings.Replace(recs(1, 1), "text", strings.Repeat("x", 2<<20), 1)
	put(t, path, line+recs(2, 1)+strings.Repeat("y", 4<<20)+"\n"+recs(3, 1)+
		strings.Repeat("\x00", 4<<20)+recs(4, 1)+strings.Repeat("z", 4<<20))
	r := read(t, path)
	r.longest = 3 << 20
	if got, err := r.next(10); err != nil || got != line {
		t.Fatalf("got %d bytes, %v, want the line of %d", len(got), err, len(line))
	}
	r.wants(recs(2, 3))
	if cap(r.b.arena) > 2<<20 {
		t.Errorf("got %d bytes kept, want few", cap(r.b.arena))
	}
	if len(r.faults) != 2 || !strings.Contains(r.faults[0].What, "longer than any record") {
		t.Errorf("got %+v, want that two lines are too long", r.faults)
	}
	if err := os.Rename(path, rotatedName(path, 1)); err != nil {
		t.Fatal(err)
	}
	put(t, path, recs(5, 1))
	r.wants(recs(5, 1)) // what has no end is passed over now
	pack(t, rotatedName(path, 1))
	r = read(t, path)
	r.longest = 3 << 20
	if got, _ := r.all(); got != line+recs(2, 2)+recs(5, 1) {
		t.Errorf("got %d bytes ending in %q, want the records without that behind the hole", len(got), got[len(line):])
	}
}

// TestManyCompressedFiles are not open all at once.
func TestManyCompressedFiles(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for i := range 3 * maxUnpackers {
		path := filepath.Join(dir, fmt.Sprintf("records%d.log", i))
		put(t, rotatedName(path, 1), recs(10*i, 9))
		pack(t, rotatedName(path, 1))
		put(t, path, recs(10*i+9, 1))
		paths = append(paths, path)
	}
	r := read(t, paths...)
	n := 0
	for err := error(nil); err == nil; {
		_, err = r.next(3)
		n += len(r.b.Records)
		open := 0
		for _, l := range r.lanes {
			if l.src != nil && l.src.z != nil {
				open++
			}
		}
		if open > maxUnpackers {
			t.Fatalf("got %d compressed files open, want %d", open, maxUnpackers)
		}
	}
	if want := 10 * len(paths); n != want {
		t.Errorf("got %d records, want %d", n, want)
	}
}

// TestFillWaits in real time, while another goroutine asks how far it is.
func TestFillWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	s := Open(Options{Paths: []string{path}})
	defer s.Close()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		put(t, path, recs(1, 2))
		for ctx.Err() == nil {
			s.Lag(nil)
			_, _ = s.Ends() // it is asked only
		}
	}()
	var b Batch
	for n := 0; n < 2; n += len(b.Records) {
		if err := s.Fill(ctx, &b, 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	<-over
	if err := s.Fill(ctx, &b, 1, 1); err != context.Canceled || len(b.Cursor) != 1 {
		t.Errorf("got %v, %v, want that it is canceled, and where it stands", err, b.Cursor)
	}
}

// TestIdlePathsCostLittle: nothing is opened or listed while nothing happens.
func TestIdlePathsCostLittle(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for i := range 100 {
		path := filepath.Join(dir, fmt.Sprintf("records%d.log", i))
		put(t, path, recs(i, 1))
		paths = append(paths, path)
	}
	r := read(t, paths...)
	if _, err := r.all(); err != errQuiet {
		t.Fatal(err)
	}
	visits := testing.AllocsPerRun(1, func() {
		for _, l := range r.lanes {
			l.next = time.Time{}
		}
		r.b.reset(limits{1, 1})
		if err := r.round(&r.b, limits{1, 1}); err != nil {
			t.Fatal(err)
		}
	})
	if each := visits / 100; each > 12 {
		t.Errorf("got %v allocations for a look at an idle path, want few: it is listed", each)
	}
}
