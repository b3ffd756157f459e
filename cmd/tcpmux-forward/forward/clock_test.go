package forward

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/cmd/tcpmux-forward/stream"
	"tcpmux/daemon/delivery"
	"tcpmux/daemon/record"
)

const year = 365 * 24 * time.Hour

// setClock has the times of a saved state be from before the clock was set by d.
func setClock(t *testing.T, dir string, d time.Duration) {
	t.Helper()
	s, err := delivery.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []*time.Time{&s.Next.At, &s.Next.Saved} {
		if !at.IsZero() {
			*at = at.Add(-d)
		}
	}
	if err := delivery.Save(dir, s); err != nil {
		t.Fatal(err)
	}
}

// TestFilesAreKeptWhateverTheClock: when it is set while nothing runs, files are let go of neither
// sooner than half of what is configured, nor much later. Each run of the forwarder may be long or
// short.
func TestFilesAreKeptWhateverTheClock(t *testing.T) {
	for _, d := range []time.Duration{year, -year, 0} {
		for _, run := range []time.Duration{0, 10 * time.Second, 2 * time.Minute} {
			t.Run(fmt.Sprintf("set by %v, runs of %v", d, run), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cfg := forwarding(t)
					begun, done := time.Now(), false
					for i := uint64(1); !done; i++ {
						j := opened(t, cfg)
						if i == 1 {
							j.acknowledged(delivery.Stream{}, 1, at("A", 1))
						}
						for end := time.Now().Add(run); ; time.Sleep(time.Second) {
							if err := j.tick(time.Now()); err != nil {
								t.Fatal(err)
							}
							if !time.Now().Before(end) {
								break
							}
						}
						closed(t, j)
						done = len(j.state.Kept) > 0
						age := time.Since(begun)
						if done && age < 2*time.Minute+30*time.Second || age > 14*time.Minute {
							t.Fatalf("got what was delivered %v ago let go of: %v, want that after 2m30s and before 14m", age, done)
						}
						if i == 1 {
							setClock(t, cfg.Forward.State, d)
						}
						time.Sleep(time.Minute)
					}
				})
			})
		}
	}
}

// TestTheClockOfRecordsCountsForNothing: records that were made while the clock was set forth and
// back by a year are delivered once and in order, over forwarders whose state is from another time,
// too, and what is said of them makes sense.
func TestTheClockOfRecordsCountsForNothing(t *testing.T) {
	cfg := forwarding(t)
	cfg.Record.File, cfg.Record.Format = filepath.Join(t.TempDir(), "records.log"), "json"
	s := &site{cfg: cfg, stream: newFakeStream(1, 0), writer: newWriter(t, cfg.Record.File)}
	w := s.writer
	for i, d := range []time.Duration{0, year, -year, year, 0, -2 * year} {
		for range 60 { // some files
			w.n++
			w.enc.Begin(&record.Source{Listener: "tcpmux", Session: fmt.Sprintf("8f3a-%x", w.n%7), Remote: "192.0.2.7:40312"}, time.Now().Add(d))
			line := w.enc.Message(nil, &record.Message{Offset: w.n, Raw: fmt.Appendf(nil, "message %d\n", w.n), EndLen: 1})
			if _, err := w.files[0].Write(line); err != nil {
				t.Fatal(err)
			}
			w.lines[0] = append(w.lines[0], strings.TrimSuffix(string(line), "\n"))
		}
		if i > 0 {
			setClock(t, cfg.Forward.State, d)
		}
		before, err := Offline(cfg)
		if err != nil || before.Lag.Bytes == 0 || !(before.Lag.Seconds >= 0) || before.Lag.Seconds > 3*year.Seconds() {
			t.Errorf("set by %v: got %+v, %v, want a lag of a sane age", d, before.Lag, err)
		}
		after, err := s.once(t)
		if err != nil || after.Lag.Bytes != 0 || after.Lag.Seconds != 0 {
			t.Errorf("set by %v: got %+v, %v, want no lag", d, after.Lag, err)
		}
		s.delivered(t, w.lines[0])
	}
}

// TestTheRateWhateverTheClock neither panics nor makes numbers up.
func TestTheRateWhateverTheClock(t *testing.T) {
	var r rate
	now := time.Unix(1_800_000_000, 0)
	for _, d := range []time.Duration{0, year, -2 * year, year, -60 * year} {
		now = now.Add(d)
		for range 30 {
			r.add(now, 500)
			if got := r.of(now); math.IsNaN(got) || got < 0 || got > 500 {
				t.Errorf("set by %v: got %v records a second, want at most 500", d, got)
			}
			now = now.Add(time.Second)
		}
		if got := r.of(now); got != 500 {
			t.Errorf("30 s after it was set by %v: got %v records a second, want 500", d, got)
		}
	}
}

// TestTheAgeOfTheOldestRecordIsNotNegative where that was made in what is the future now.
func TestTheAgeOfTheOldestRecordIsNotNegative(t *testing.T) {
	s := newSite(t)
	line := `{"time":"` + time.Now().Add(year).UTC().Format("2006-01-02T15:04:05.000000Z") + `","kind":"open","listener":"a","session":"b-1","remote":"192.0.2.7:1"}` + "\n"
	if err := os.WriteFile(s.cfg.Record.File, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := New(Options{Config: s.cfg, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	st := f.Status()
	if st.Lag.Bytes != int64(len(line)) || st.Lag.Seconds != 0 {
		t.Errorf("got %+v, want %d bytes that are 0 s old", st.Lag, len(line))
	}
	f.report.connected(stream.Info{})
	if err := errors.Join(f.Healthy(), f.Close()); err != nil {
		t.Error(err)
	}
}
