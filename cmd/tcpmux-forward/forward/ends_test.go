package forward

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/cmd/tcpmux-forward/spool"
	"tcpmux/cmd/tcpmux-forward/stream"
	"tcpmux/daemon/delivery"
)

// TestOnceEndsWhereNothingIsRecorded as well.
func TestOnceEndsWhereNothingIsRecorded(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f := newForwarder(t, s.cfg, s.stream, true)
	defer f.Close()
	if err := f.Run(ctx); err != nil || ctx.Err() != nil {
		t.Errorf("got %v and %v, want that there is nothing to wait for", err, ctx.Err())
	}
}

// TestRunsOfOnceLetGoOfFiles that were delivered for as long as they are kept, although each run is
// short.
func TestRunsOfOnceLetGoOfFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := forwarding(t)
		for i := range int64(20) {
			j := opened(t, cfg)
			if err := j.tick(time.Now()); err != nil {
				t.Fatal(err)
			}
			age := i
			if len(j.state.Kept) > 0 {
				age -= j.state.Kept[0].Offset
			}
			if len(j.state.Kept) > 0 && age < 5 || age > 11 {
				t.Fatalf("minute %d: got what was delivered %d minutes ago as kept, want 5 to 11", i, age)
			}
			j.acknowledged(delivery.Stream{}, uint64(i), at("A", i))
			closed(t, j)
			time.Sleep(time.Minute)
		}
	})
}

// TestAFileThatWasCutIsNotGuessed also if that is found out when a connection begins.
func TestAFileThatWasCutIsNotGuessed(t *testing.T) {
	s := newSite(t)
	s.write(t, 10)
	if _, err := s.once(t); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(s.cfg.Record.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.cfg.Record.File, info.Size()/2); err != nil {
		t.Fatal(err)
	}
	f := newForwarder(t, s.cfg, s.stream, false)
	defer f.Close()
	err = f.session(t.Context(), newPause())
	f.report.failed(err)
	if st := f.Status(); st.State != api.Blocked || !strings.Contains(st.Error, "--forget") {
		t.Errorf("got %q, %q, want it blocked, with the next step", st.State, st.Error)
	}
}

// TestForgetHelpsWhereNoFileIsLeft and the next record is delivered.
func TestForgetHelpsWhereNoFileIsLeft(t *testing.T) {
	s := newSite(t)
	s.write(t, 10)
	if _, err := s.once(t); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.cfg.Record.File, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Forget(s.cfg); err != nil {
		t.Fatal(err)
	}
	s.write(t, 5)
	if _, err := s.once(t); err != nil {
		t.Fatal(err)
	}
	s.delivered(t, s.writer.lines[0])
}

// TestTheOldestArchivesAreForgottenFirst because who has delivered one may try that again.
func TestTheOldestArchivesAreForgottenFirst(t *testing.T) {
	s := newSite(t)
	s.write(t, 1)
	var newest delivery.Key
	for i := range foreignKept + 10 {
		w := newWriter(t, filepath.Join(t.TempDir(), "archive.log"))
		w.n = int64(i+1) << 20 // another one
		w.write(t)
		f, err := New(Options{Config: s.cfg, Log: slog.New(slog.DiscardHandler), Files: []string{w.files[0].Path()}})
		if err != nil {
			t.Fatal(err)
		}
		f.connect = s.stream.connect
		err = f.Run(t.Context())
		newest = f.cursor[0].Key
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.once(t); err != nil {
		t.Fatal(err)
	}
	last := s.stream.messages[len(s.stream.messages)-1].cursor
	if _, found := last.Find(newest); !found || len(last) > foreignKept+1 {
		t.Errorf("got %d positions, and the newest archive among them is %v", len(last), found)
	}
}

// TestAFullStreamIsUnhealthy although each attempt to connect succeeds.
func TestAFullStreamIsUnhealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Forwarder{opt: Options{Log: slog.New(slog.DiscardHandler)}}
		f.report = newReport(f)
		for range 20 {
			f.report.connected(stream.Info{Server: "nats://127.0.0.1:4222"})
			f.report.failed(errFault)
			time.Sleep(10 * time.Second)
		}
		if err := f.Healthy(); err == nil || !strings.Contains(err.Error(), errFault.Error()) {
			t.Errorf("got %v, want why nothing is delivered", err)
		}
		f.report.connected(stream.Info{Server: "nats://127.0.0.1:4222"})
		f.report.looked()
		if err := f.Healthy(); err != nil || f.report.status.Error != "" {
			t.Errorf("got %v and %q, want that all is well again", err, f.report.status.Error)
		}
	})
}

// TestAReloadEndsAPause and the connection that was made with the other configuration.
func TestAReloadEndsAPause(t *testing.T) {
	s := newSite(t)
	f := newForwarder(t, s.cfg, s.stream, false)
	defer f.Close()
	next := s.cfg
	next.Forward.Host = "other"
	if err := f.Reload(next); err != nil {
		t.Fatal(err)
	}
	if err := f.wait(t.Context(), time.Hour); err == nil || f.host != "box" {
		t.Errorf("got %v and host %q, want that the session ends before another one holds", err, f.host)
	}
}

// TestADamagedArchiveIsNotWaitedFor because nobody who waits at a terminal can know why.
func TestADamagedArchiveIsNotWaitedFor(t *testing.T) {
	s := newSite(t)
	s.write(t, 3)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for i := range 100_000 {
		fmt.Fprintf(z, "%d\n", i*i) // a buffer takes everything
	}
	_ = z.Close()
	archive := filepath.Join(t.TempDir(), "archive.log.gz")
	if err := os.WriteFile(archive, b.Bytes()[:b.Len()/2], 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := New(Options{Config: s.cfg, Log: slog.New(slog.DiscardHandler), Files: []string{archive}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.connect = s.stream.connect
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.Run(ctx); err == nil || !strings.Contains(err.Error(), archive) {
		t.Errorf("got %v, want the file that cannot be read", err)
	}
}

// TestAFileThatCannotBeReadIsLogged once, and when it can be read again.
func TestAFileThatCannotBeReadIsLogged(t *testing.T) {
	s := newSite(t)
	s.write(t, 3)
	var log bytes.Buffer
	f, err := New(Options{Config: s.cfg, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	look := func() {
		f.report.measured = time.Time{}
		f.Status()
	}
	aside := s.cfg.Record.File + ".aside"
	if err := errors.Join(os.Rename(s.cfg.Record.File, aside), os.Symlink(aside, s.cfg.Record.File)); err != nil {
		t.Fatal(err)
	}
	look()
	look()
	if n := strings.Count(log.String(), "a record file cannot be read,"); n != 1 || !strings.Contains(log.String(), s.cfg.Record.File) {
		t.Errorf("got %q, want one line", log.String())
	}
	if err := os.Rename(aside, s.cfg.Record.File); err != nil {
		t.Fatal(err)
	}
	look()
	if n := strings.Count(log.String(), "a record file can be read again"); n != 1 {
		t.Errorf("got %q, want that it is read again", log.String())
	}
}

// thinConn fails for what is more than a network takes in time.
type thinConn struct{ connection }

func (c thinConn) Publish(ctx context.Context, b *spool.Batch) (uint64, error) {
	if b.Bytes > 2*leastBytes {
		return 0, errFault
	}
	return c.connection.Publish(ctx, b)
}

// TestASlowNetworkGetsSmallBatches and so is not tried with the same batch for ever.
func TestASlowNetworkGetsSmallBatches(t *testing.T) {
	s := newSite(t)
	s.write(t, 2000)
	s.cfg.Record.File = filepath.Join(t.TempDir(), "records.log") // one that is not rotated
	if err := os.WriteFile(s.cfg.Record.File, []byte(strings.Join(s.writer.lines[0], "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newForwarder(t, s.cfg, s.stream, true)
	defer f.Close()
	f.connect = func(ctx context.Context, o stream.Options) (connection, error) {
		c, err := s.stream.connect(ctx, o)
		return thinConn{c}, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.Run(ctx); err != nil {
		t.Fatal(err)
	}
	s.delivered(t, s.writer.lines[0])
	f.bytes.Store(leastBytes)
	for range 10 {
		f.adapt(f.bytes.Load(), nil)
	}
	if got := f.bytes.Load(); got != batchBytes {
		t.Errorf("got batches of %d bytes where all goes well, want %d", got, batchBytes)
	}
}
