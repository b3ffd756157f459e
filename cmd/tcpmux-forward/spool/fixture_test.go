package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpmux/daemon/record"
)

// recs returns n records as lines, the first of which has a number.
func recs(first, n int) string {
	e := record.NewEncoder(record.JSON)
	var b []byte
	for i := range n {
		src := &record.Source{Listener: "lab", Session: fmt.Sprintf("8f3a-%x", first+i), Remote: "192.0.2.7:40312"}
		e.Begin(src, time.Unix(1_800_000_000+int64(first+i), 0))
		b = e.Message(b, &record.Message{Offset: int64(first + i), Raw: fmt.Append(nil, "text ", first+i)})
	}
	return string(b)
}

// put writes a file.
func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// add appends to a file.
func add(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// rotatedName returns the name of a rotated file.
func rotatedName(path string, n int) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + time.Unix(1_800_000_000+int64(n), 0).UTC().Format("-2006-01-02T15-04-05.000") + ext
}

// reader is a Spool in a time of its own, and what it tells.
type reader struct {
	*Spool
	t      *testing.T
	b      Batch
	faults []Fault
}

func read(t *testing.T, paths ...string) *reader {
	r := &reader{t: t}
	r.Spool = timed(Open(Options{Paths: paths, Fault: func(f Fault) { r.faults = append(r.faults, f) }}))
	t.Cleanup(func() { r.Close() })
	return r
}

// next fills a batch, and returns its lines.
func (r *reader) next(records int) (string, error) {
	err := r.Fill(context.Background(), &r.b, records, 1<<20)
	var text strings.Builder
	for _, rec := range r.b.Records {
		fmt.Fprintf(&text, "%s\n", rec.Line)
	}
	return text.String(), err
}

// all returns everything up to an error.
func (r *reader) all() (string, error) {
	var all strings.Builder
	for {
		text, err := r.next(1000)
		if all.WriteString(text); err != nil {
			return all.String(), err
		}
	}
}

// wants reads everything and compares it. Nothing else may be wrong.
func (r *reader) wants(want string) {
	r.t.Helper()
	got, err := r.all()
	if got != want || err != errQuiet {
		r.t.Fatalf("got %q, %v, want %q, %v", got, err, want, errQuiet)
	}
}

// wantsError compares what is wrong with the first path; "" is nothing.
func (r *reader) wantsError(want string) {
	r.t.Helper()
	files := r.Lag(r.cursor())
	if got := files[0].Error; !strings.Contains(got, want) || want == "" && got != "" {
		r.t.Errorf("got error %q, want %q", got, want)
	}
}

// wants1 reads one batch.
func (r *reader) wants1(want string) {
	r.t.Helper()
	if got, err := r.next(1000); got != want || err != nil {
		r.t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}
