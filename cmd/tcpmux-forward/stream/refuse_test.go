package stream

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tcpmux/cmd/tcpmux-forward/natstest"
)

func TestStreamsThatDoNotSuit(t *testing.T) {
	s := natstest.Start(t, natstest.Newest, natstest.Options{})
	js, err := s.Connect().JetStream(nats.MaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		cfg   nats.StreamConfig
		words string
	}{
		{"work queue", nats.StreamConfig{Retention: nats.WorkQueuePolicy}, "the last message must stay"},
		{"interest", nats.StreamConfig{Retention: nats.InterestPolicy}, "the last message must stay"},
		{"no ack", nats.StreamConfig{NoAck: true}, "no_ack"},
		{"limit of a subject", nats.StreamConfig{MaxMsgsPerSubject: 1}, "max_msgs_per_subject 1"},
		{"mirror", nats.StreamConfig{Mirror: &nats.StreamSource{Name: "ORIGIN"}}, "mirror"},
		{"other subjects", nats.StreamConfig{Subjects: []string{"tcpmux.*.*.open", "tcpmux.*.*.message"}}, "tcpmux.box.*.close"},
		{"subjects change", nats.StreamConfig{SubjectTransform: &nats.SubjectTransformConfig{Source: ">", Destination: "x.>"}}, "subject_transform"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.cfg.Mirror != nil {
				if _, err := js.AddStream(&nats.StreamConfig{Name: "ORIGIN", Subjects: []string{"o"}}); err != nil {
					t.Fatal(err)
				}
			}
			addStream(t, s, c.cfg)
			_, err := Connect(context.Background(), options(s))
			wantKind(t, err, Refused, `stream "S"`, c.words, "stream under [forward]")
			if err := js.DeleteStream("S"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestStreamIsMissing(t *testing.T) {
	s := natstest.Start(t, natstest.Newest, natstest.Options{})
	opt := options(s)
	opt.Forward.Create = false
	_, err := Connect(context.Background(), opt)
	wantKind(t, err, Refused, "does not exist", "nats stream add S", "create = true")
	opt.Forward.Create, opt.Forward.Replicas = true, 3
	_, err = Connect(context.Background(), opt)
	wantKind(t, err, Outage, "create stream")
	addStream(t, s, nats.StreamConfig{Subjects: []string{"tcpmux.>"}})
	opt.Forward.Stream, opt.Forward.Replicas = "T", 1
	_, err = Connect(context.Background(), opt)
	wantKind(t, err, Refused, "another stream has some of these subjects")
}

func TestCreatedStream(t *testing.T) {
	each(t, natstest.Options{}, func(t *testing.T, m mode, s *natstest.Server) {
		opt := options(s)
		opt.Forward.MaxAge, opt.Forward.MaxBytes = time.Hour, 1<<20
		c := connected(t, opt)
		if m.plain {
			if got := strings.Join(c.Info().Warnings, "\n"); !strings.Contains(got, "nats stream edit S --allow-batch") {
				t.Errorf("got warnings %q, want how to allow batches", got)
			}
			return
		}
		if got := c.Info().Warnings; len(got) > 0 {
			t.Errorf("got warnings %q of a stream that was created, want none", got)
		}
		if got := c.config; got.MaxAge != time.Hour || got.MaxBytes != 1<<20 || got.Subjects[0] != "tcpmux.*.*.*" || got.Duplicates > 2*time.Second {
			t.Errorf("got %+v, want what is configured", got)
		}
		opt.Forward.MaxAge = 2 * time.Hour // which changes nothing
		if got := connected(t, opt).config.MaxAge; got != time.Hour {
			t.Errorf("got max_age %v of a stream that was there, want 1h", got)
		}
	})
}

func TestDoubts(t *testing.T) {
	s := natstest.Start(t, natstest.Newest, natstest.Options{})
	addStream(t, s, nats.StreamConfig{Storage: nats.MemoryStorage})
	got := strings.Join(connected(t, options(s)).Info().Warnings, "\n")
	for _, w := range []string{"--discard new", "in memory", "--allow-batch"} {
		if !strings.Contains(got, w) {
			t.Errorf("got warnings %q, want %q in them", got, w)
		}
	}
}

func TestStreamIsFull(t *testing.T) {
	each(t, natstest.Options{}, func(t *testing.T, m mode, s *natstest.Server) {
		opt := options(s)
		// A server 2.9 removes the first message if one fits only without what is stored
		// with it. Here none does.
		opt.Forward.MaxBytes = 100_200
		if m.plain {
			js, err := s.Connect().JetStream()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := js.UpdateStream(&nats.StreamConfig{Name: "S", Subjects: []string{"tcpmux.*.*.*"}, MaxBytes: 100_200, Discard: nats.DiscardNew}); err != nil {
				t.Fatal(err)
			}
		}
		c := connected(t, opt)
		lastOf(t, c)
		_, err := c.Publish(context.Background(), batchOf(0, 500, nil, fileA))
		wantKind(t, err, Outage, "the stream is full", "max_bytes")
		stored := fileA.at(lastOf(t, c).Cursor)
		wantOnce(t, s, stored, fileA)
		if want := !m.batches; (stored > 0) != want {
			t.Errorf("got %d records of a batch that is too large, want a prefix: %v", stored, want)
		}
	})
}

func TestRecordIsTooLarge(t *testing.T) {
	each(t, natstest.Options{Config: "max_payload: 8192"}, func(t *testing.T, m mode, s *natstest.Server) {
		c := connected(t, options(s))
		lastOf(t, c)
		b := batchOf(0, 3, nil, fileA)
		b.Records[2].Line = []byte(strings.Repeat("x", 8000))
		_, err := c.Publish(context.Background(), b)
		wantKind(t, err, Refused, "offset 300", string(fileA.mark), "takes 8192 (max_payload)")
		b.Records[2].Line = b.Records[2].Line[:7000] // as large as can be, with the headers
		last := lastOf(t, c)
		if got := fileA.at(last.Cursor); got != 2 {
			t.Errorf("got %d records, want the 2 before it", got)
		}
		b.Records = b.Records[fileA.at(last.Cursor):]
		publish(t, c, b)
	})
}

// TestStale has somebody else publish what is to be published next.
func TestStale(t *testing.T) {
	each(t, natstest.Options{}, func(t *testing.T, m mode, s *natstest.Server) {
		one, other := connected(t, options(s)), connected(t, options(s))
		lastOf(t, one)
		lastOf(t, other)
		publish(t, one, batchOf(0, 3, nil, fileA))
		_, err := other.Publish(context.Background(), batchOf(0, 3, nil, fileA))
		wantKind(t, err, Stale)
		_, err = other.Publish(context.Background(), batchOf(0, 3, nil, fileA))
		wantKind(t, err, Outage, "not known") // before Last is called
		if got := fileA.at(lastOf(t, other).Cursor); got != 3 {
			t.Errorf("got position %d, want 3", got)
		}
		publish(t, other, batchOf(3, 3, nil, fileA))
		_, err = one.Publish(context.Background(), batchOf(3, 3, nil, fileA))
		wantKind(t, err, Stale)
		wantOnce(t, s, 6, fileA)
	})
}

// TestStreamIsReplaced removes the stream and makes it again while a connection is there.
func TestStreamIsReplaced(t *testing.T) {
	each(t, natstest.Options{}, func(t *testing.T, m mode, s *natstest.Server) {
		c := connected(t, options(s))
		lastOf(t, c)
		publish(t, c, batchOf(0, 3, nil, fileA))
		js, err := s.Connect().JetStream()
		if err != nil {
			t.Fatal(err)
		}
		if err := js.DeleteStream("S"); err != nil {
			t.Fatal(err)
		}
		addStream(t, s, nats.StreamConfig{})
		if _, err := c.Publish(context.Background(), batchOf(3, 3, nil, fileA)); err == nil {
			t.Error("got no error, want one: it is another stream")
		}
		if got := natstest.All(t, s.Connect(), "S"); len(got) > 0 {
			t.Errorf("got %d messages, want none", len(got))
		}
	})
}
