package tap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/record"
	"tcpmux/daemon/sockaddr"
)

var (
	moment = time.Date(2026, 11, 28, 12, 0, 0, 123456000, time.UTC)
	one    = record.Source{Listener: "a", Session: "0-1", Remote: "192.0.2.7:4711"}
	two    = record.Source{Listener: "b", Session: "0-2", Remote: "[2001:db8::7]:4712", Proxy: "192.0.2.1:1"}
	third  = record.Source{Listener: "a", Session: "0-3", Remote: "198.51.100.1:1"}
)

// from returns the peers that text stands for.
func from(text string) sockaddr.Sources {
	s, _ := sockaddr.ParseSources(text)
	return s
}

// linesOf returns records of a source: its opening, a message for each text, and its end.
func linesOf(f record.Format, source *record.Source, texts ...string) []byte {
	e := record.NewEncoder(f)
	e.Begin(source, moment)
	out := e.Open(nil)
	for _, text := range texts {
		out = e.Message(out, &record.Message{Raw: []byte("h" + text + "\n"), HeadLen: 1, EndLen: 1})
	}
	out = e.Message(out, &record.Message{Raw: []byte("half"), Flag: "eof"})
	return e.Close(out, "eof", int64(len(texts))+1, 99)
}

func publish(t *Tap, source record.Source, texts ...string) {
	t.Publish(t.Take(nil, &source, linesOf(record.Text, &source, texts...)))
}

// gist is what tests look at.
func gist(r api.Record) string {
	switch r.Kind {
	case KindMessage:
		return strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Session, r.Data, r.Flag))
	case api.KindMissed:
		return fmt.Sprintf("missed %d", r.Records)
	case KindClose:
		return fmt.Sprintf("%s close %s %d %d", r.Session, r.Reason, r.Records, r.Bytes)
	}
	return r.Session + " " + r.Kind
}

// all returns what a reader has got, once nothing more comes.
func all(t *testing.T, r *Reader) (got []string) {
	t.Helper()
	synctest.Wait()
	for {
		r.mu.Lock()
		empty := len(r.rest) == 0 && len(r.lines) == 0 && r.missed == 0
		r.mu.Unlock()
		if empty {
			return got
		}
		rec, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, gist(rec))
	}
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestNextDoesNotWaitWithAContextThatIsDone: it returns what waits, and then the error.
func TestNextDoesNotWaitWithAContextThatIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tap Tap
		r := tap.Follow(Filter{})
		defer r.Close()
		publish(&tap, one, "x")
		publish(&tap, two)
		synctest.Wait()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		var got []string
		for range 100 {
			rec, err := r.Next(over)
			if err != nil {
				got = append(got, err.Error())
				break
			}
			got = append(got, gist(rec))
		}
		same(t, got, "0-1 open", "0-1 x", "0-1 half eof", "0-1 close eof 2 99",
			"0-2 open", "0-2 half eof", "0-2 close eof 1 99", context.Canceled.Error())
	})
}

// TestAReaderGetsWhatIsRecorded in either format, as its source, without the framing.
func TestAReaderGetsWhatIsRecorded(t *testing.T) {
	for _, f := range []record.Format{record.Text, record.JSON} {
		synctest.Test(t, func(t *testing.T) {
			var tap Tap
			r := tap.Follow(Filter{})
			defer r.Close()
			text := linesOf(f, &two, "x")
			tap.Publish(tap.Take(nil, &two, text))
			clear(text) // the session uses it again
			rec, err := r.Next(t.Context())
			if err != nil || rec.Kind != KindOpen || rec.Listener != "b" || rec.Session != "0-2" ||
				rec.Remote != two.Remote || rec.Proxy != two.Proxy || !rec.Time.Equal(moment) {
				t.Errorf("got %+v and %v, want the opening of %+v", rec, err, two)
			}
			same(t, all(t, r), "0-2 x", "0-2 half eof", "0-2 close eof 2 99")
		})
	}
}

func TestAFilterSelects(t *testing.T) {
	for _, c := range []struct {
		name   string
		filter Filter
		want   string
	}{
		{"all", Filter{}, "0-1 0-2 0-3"},
		{"listener", Filter{Listener: "a"}, "0-1 0-3"},
		{"session", Filter{Session: "0-2"}, "0-2"},
		{"source", Filter{From: from("192.0.2.0/24")}, "0-1"},
		{"IPv6", Filter{From: from("2001:db8::/32")}, "0-2"},
		{"both", Filter{Listener: "b", From: from("192.0.2.0/24")}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tap Tap
				r, other := tap.Follow(c.filter), tap.Follow(Filter{Listener: "nobody's"})
				defer r.Close()
				defer other.Close()
				var want []string
				for _, source := range []record.Source{one, two, third} {
					publish(&tap, source)
					if strings.Contains(c.want, source.Session) {
						want = append(want, source.Session+" open", source.Session+" half eof", source.Session+" close eof 1 99")
					}
				}
				same(t, all(t, r), want...)
				same(t, all(t, other))
			})
		})
	}
}

// TestNothingIsCopiedThatNobodyWants.
func TestNothingIsCopiedThatNobodyWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tap Tap
		line := linesOf(record.Text, &one)
		if l := tap.Take(nil, &one, line); l != nil {
			t.Error("without a reader: got lines, want none")
		}
		r := tap.Follow(Filter{Listener: "b"})
		if l := tap.Take(nil, &one, line); l != nil {
			t.Error("of another listener: got lines, want none")
		}
		r.Close()
		r.Close()
		if l := tap.Take(nil, &two, line); l != nil || tap.Readers() != 0 {
			t.Error("after Close: got lines, want none")
		}
		if _, err := r.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want %v", err, ErrClosed)
		}
		var none *Tap
		none.Publish(none.Take(nil, &one, line))
	})
}

// TestASlowReaderMissesTheOldest: how many is said before what follows them.
func TestASlowReaderMissesTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tap Tap
		r := tap.Follow(Filter{})
		defer r.Close()
		const sent, size = 50, 100 << 10
		for range sent {
			publish(&tap, one, strings.Repeat("x", size)) // 4 records
			synctest.Wait()
			if r.size > readerSize {
				t.Fatalf("%d bytes wait, want at most %d", r.size, readerSize)
			}
		}
		got := all(t, r)
		var missed, rest int
		if _, err := fmt.Sscanf(got[0], "missed %d", &missed); err != nil {
			t.Fatalf("got %.40q first, want what is missed", got[0])
		}
		rest = len(got) - 1
		if missed+rest != 4*sent || rest < 8 {
			t.Errorf("got %d and missed %d, want %d in all, and some of them", rest, missed, 4*sent)
		}
		publish(&tap, two)
		same(t, all(t, r), "0-2 open", "0-2 half eof", "0-2 close eof 1 99")
	})
}

// TestRecordsThatNoReaderHasRoomForAreMissed by all of them, in their turn.
func TestRecordsThatNoReaderHasRoomForAreMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tap Tap
		r := tap.Follow(Filter{})
		defer r.Close()
		publish(&tap, one)
		var l *Lines
		for range 3 { // as a session that gathers several times
			l = tap.Take(l, &two, linesOf(record.Text, &two, strings.Repeat("x", readerSize/2)))
		}
		tap.Publish(l)
		publish(&tap, third)
		same(t, all(t, r), "0-1 open", "0-1 half eof", "0-1 close eof 1 99", "missed 12",
			"0-3 open", "0-3 half eof", "0-3 close eof 1 99")
	})
}

// TestReadersThatNeverReadDelayNobody: what waits for them is bounded, and the others get all.
func TestReadersThatNeverReadDelayNobody(t *testing.T) {
	var tap Tap
	const records = 2000
	var reading sync.WaitGroup
	for i := range 100 {
		r := tap.Follow(Filter{})
		defer r.Close()
		if i%2 == 0 {
			continue
		}
		reading.Go(func() {
			for n := int64(0); n < records; {
				rec, err := r.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if n++; rec.Kind == api.KindMissed {
					n += rec.Records - 1
				}
			}
		})
	}
	var sessions sync.WaitGroup
	for range 4 {
		sessions.Go(func() {
			for range records / 4 / 4 {
				publish(&tap, one, strings.Repeat("x", 3<<10))
			}
		})
	}
	sessions.Wait()
	reading.Wait()
	for _, r := range *tap.readers.Load() {
		r.mu.Lock()
		if r.size > readerSize {
			t.Errorf("%d bytes wait, want at most %d", r.size, readerSize)
		}
		r.mu.Unlock()
	}
	if tap.queued > queueSize+readerSize {
		t.Errorf("%d bytes are queued, want at most %d", tap.queued, queueSize)
	}
}

// TestReadersComeAndGo while sessions record: the race detector reports what is not safe.
func TestReadersComeAndGo(t *testing.T) {
	var tap Tap
	ctx, cancel := context.WithCancel(t.Context())
	var sessions, readers sync.WaitGroup
	for range 2 {
		sessions.Go(func() {
			for ctx.Err() == nil {
				publish(&tap, one, "x")
			}
		})
	}
	for range 4 {
		readers.Go(func() {
			for range 50 {
				r := tap.Follow(Filter{Session: one.Session})
				if _, err := r.Next(ctx); err != nil {
					t.Error(err)
				}
				r.Close()
			}
		})
	}
	readers.Wait()
	cancel()
	sessions.Wait()
	if n := tap.Readers(); n != 0 {
		t.Errorf("got %d readers, want none", n)
	}
}

// BenchmarkTakeWithoutReaders is what a batch costs while nobody listens.
func BenchmarkTakeWithoutReaders(b *testing.B) {
	var tap Tap
	line := linesOf(record.Text, &one)
	b.ReportAllocs()
	for b.Loop() {
		tap.Publish(tap.Take(nil, &one, line))
	}
}

// BenchmarkPublish is what a batch costs while a hundred listen, of which none reads.
func BenchmarkPublish(b *testing.B) {
	var tap Tap
	for range 100 {
		defer tap.Follow(Filter{}).Close()
	}
	line := linesOf(record.Text, &one, strings.Repeat("x", 60<<10))
	b.ReportAllocs()
	for b.Loop() {
		tap.Publish(tap.Take(nil, &one, line))
	}
}

// TestAReaderIsToldOfTLS, as the session knows it, whatever the format of records tells.
func TestAReaderIsToldOfTLS(t *testing.T) {
	source := one
	source.TLS = &record.TLS{Version: "1.3", Cipher: "X", ServerName: "a\"\x1b[2J", Subject: "CN=\xff\n"}
	want := &api.TLS{Version: "1.3", Cipher: "X", SNI: source.TLS.ServerName, Subject: source.TLS.Subject}
	for _, format := range []record.Format{record.Text, record.JSON} {
		synctest.Test(t, func(t *testing.T) {
			var tap Tap
			r := tap.Follow(Filter{})
			defer r.Close()
			tap.Publish(tap.Take(nil, &source, linesOf(format, &source, "one")))
			for _, kind := range []string{KindOpen, KindMessage, KindMessage, KindClose} {
				rec, err := r.Next(t.Context())
				if err != nil || rec.Kind != kind {
					t.Fatalf("format %d: got %+v and %v, want %s", format, rec, err, kind)
				}
				if message := kind == KindMessage; message != (rec.TLS == nil) || message != (rec.Subject == want.Subject) || !message && *rec.TLS != *want {
					t.Errorf("format %d, %s: got %+v and %q, want %+v, and of a message the subject alone", format, kind, rec.TLS, rec.Subject, want)
				}
			}
		})
	}
}
