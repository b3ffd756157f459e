package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/cmd/tcpmux-forward/natstest"
	"tcpmux/daemon/delivery"
	"tcpmux/daemon/record"
	"tcpmux/daemon/recordfile"
)

// outage is a machine whose server is about to lose power.
type outage struct {
	t      *testing.T
	server *natstest.Server
	config string
	state  string
	path   string // the record file
}

func newOutage(t *testing.T, version string) *outage {
	t.Helper()
	x := &outage{t: t, server: natstest.Start(t, version, natstest.Options{})}
	x.config, x.state = written(t, fmt.Sprintf("servers = [%q]\ncreate = true\nhost = \"web1\"", x.server.URL))
	x.path = filepath.Join(filepath.Dir(x.config), "records.log")
	return x
}

// turnBack has the server lose power, so that it has just what is in a copy of its store; "" is
// nothing at all.
func (x *outage) turnBack(store string) {
	x.t.Helper()
	x.server.Kill()
	path := filepath.Join(x.server.Dir, "store")
	err := os.RemoveAll(path)
	if store != "" {
		err = errors.Join(err, os.Rename(store, path))
	}
	if err != nil {
		x.t.Fatal(err)
	}
	x.server.Restart()
}

// once delivers what there is, and wants that to succeed, or to fail with a text.
func (x *outage) once(failure string) {
	x.t.Helper()
	status, _, errs := clitest.Outcome(x.t, program(x.t, "--once", "--config", x.config))
	if (status == 0) != (failure == "") || !strings.Contains(errs, failure) {
		x.t.Fatalf("got status %d and %q, want an error with %q; \"\" is none", status, errs, failure)
	}
}

func (x *outage) has(want []byte) {
	x.t.Helper()
	if got := stored(x.t, x.server); got != string(want) {
		x.t.Errorf("got %d bytes in the stream, want %d:\n%.500s", len(got), len(want), got)
	}
}

// TestAStreamThatWasLostIsNotGuessed: one that comes in its place is delivered to when somebody has
// said so, and from the beginning if nothing is known of the former one either.
func TestAStreamThatWasLostIsNotGuessed(t *testing.T) {
	for _, version := range natstest.Versions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			x := newOutage(t, version)
			before, after := session("a", 100), session("b", 50)
			put(t, x.path, before)
			x.once("")
			x.turnBack("")
			put(t, x.path, append(before[:len(before):len(before)], after...))
			x.once("--accept-stream")
			x.has(nil)
			if status, _, errs := clitest.Outcome(t, program(t, "--accept-stream", "--config", x.config)); status != 0 {
				t.Fatalf("--accept-stream: got status %d and %q, want 0", status, errs)
			}
			x.once("")
			x.has(after)
			x.turnBack("")
			if err := os.Remove(delivery.Path(x.state)); err != nil {
				t.Fatal(err)
			}
			x.once("")
			x.has(append(before, after...))
		})
	}
}

// TestWhatTheStreamLostAndNoFileHasIsTold: the records behind it wait until somebody has decided.
func TestWhatTheStreamLostAndNoFileHasIsTold(t *testing.T) {
	for _, version := range natstest.Versions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			x := newOutage(t, version)
			first, lost, later, last := session("a", 50), session("b", 50), session("c", 50), session("d", 50)
			put(t, x.path, first)
			x.once("")
			x.server.Stop()
			store := filepath.Join(t.TempDir(), "store")
			if err := os.CopyFS(store, os.DirFS(filepath.Join(x.server.Dir, "store"))); err != nil {
				t.Fatal(err)
			}
			x.server.Restart()
			f, err := recordfile.Open(recordfile.Options{Path: x.path, Mode: 0o644, MaxSize: 1 << 20, Format: record.JSON})
			if err == nil {
				_, err = f.Write(lost)
			}
			if err != nil {
				t.Fatal(err)
			}
			x.once("")
			x.has(append(first[:len(first):len(first)], lost...))
			if _, err = f.Rotate(); err == nil {
				_, err = f.Write(later)
			}
			backups, berr := recordfile.Backups(x.path)
			if err := errors.Join(err, berr, f.Close()); err != nil || len(backups) != 1 {
				t.Fatalf("got rotated files %v and %v, want one", backups, err)
			}
			x.once("")
			if err := os.Remove(backups[0].Path()); err != nil {
				t.Fatal(err)
			}
			x.turnBack(store)
			x.once("--forget")
			x.has(first)
			if status, _, errs := clitest.Outcome(t, program(t, "--forget", "--config", x.config)); status != 0 {
				t.Fatalf("--forget: got status %d and %q, want 0", status, errs)
			}
			put(t, x.path, append(later, last...))
			x.once("")
			x.has(append(first, last...))
		})
	}
}
