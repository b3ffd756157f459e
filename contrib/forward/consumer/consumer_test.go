package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tcpmux/cmd/tcpmux-forward/natstest"
	"tcpmux/internal/await"
)

// streamOf returns a stream of a new server, and a function that stores a record in it as
// tcpmux-forward does.
func streamOf(t *testing.T, version string) (s *natstest.Server, js jetstream.JetStream, store func(session, line string)) {
	t.Helper()
	s = natstest.Start(t, version, natstest.Options{})
	js, err := jetstream.New(s.Connect())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "TCPMUX", Subjects: []string{"tcpmux.*.*.*"}}); err != nil {
		t.Fatal(err)
	}
	return s, js, func(session, line string) {
		t.Helper()
		m := &nats.Msg{Subject: "tcpmux.web1.main.message", Header: nats.Header{"Tcpmux-Session": {session}}, Data: []byte(line)}
		if _, err := js.PublishMsgAsync(m); err != nil {
			t.Fatal(err)
		}
	}
}

func stored(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		t.Fatal("the server does not acknowledge")
	}
}

// consume runs the program.
func consume(t *testing.T, s *natstest.Server, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), append([]string{"--server", s.URL}, args...), &out, &errs)
	return status, out.String(), errs.String()
}

// TestBytesComeBack has many sessions with all kinds of bytes in a stream, woven into each other.
func TestBytesComeBack(t *testing.T) {
	for _, version := range natstest.Versions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s, js, store := streamOf(t, version)
			rnd := rand.New(rand.NewPCG(1, 2))
			var talks []*talk
			sent := make([]bytes.Buffer, 6)
			for i := range sent {
				w := newTalk(fmt.Sprintf("0f3c5a7e-%x", i), "l"+strconv.Itoa(i%3), fmt.Sprintf("192.0.2.%d:4000", i))
				w.open()
				for range 1 + rnd.IntN(100) {
					b := make([]byte, 1+rnd.IntN(1+rnd.IntN(20_000)))
					for j := range b {
						b[j] = byte(rnd.IntN(1 + rnd.IntN(256)))
					}
					w.say(string(b))
					sent[i].Write(b)
				}
				w.close()
				talks = append(talks, w)
			}
			for left := len(talks); left > 0; {
				i := rnd.IntN(len(talks))
				w := talks[i]
				if len(w.lines) == 0 {
					continue
				}
				store(w.src.Session, w.lines[0])
				if w.lines = w.lines[1:]; len(w.lines) == 0 {
					left--
				}
			}
			store("", "somebody else's message")
			stored(t, js)
			for i, w := range talks {
				for _, args := range [][]string{
					{"--session", w.src.Session},
					{"--session", w.src.Session, "--to-end"},
					{"--remote", fmt.Sprintf("192.0.2.%d", i), "--subject", "tcpmux.web1.*.*"},
					{"--remote", w.src.Remote, "--listener", w.src.Listener, "--since", "2020-01-01T00:00:00Z"},
				} {
					status, out, errs := consume(t, s, args...)
					if status != 0 || errs != "" || out != sent[i].String() {
						t.Errorf("%q: got status %d, %d bytes with hash %x and %q, want 0 and %d bytes with hash %x",
							args, status, len(out), sha256.Sum256([]byte(out)), errs, sent[i].Len(), sha256.Sum256(sent[i].Bytes()))
					}
				}
			}
		})
	}
}

func TestExitStatus(t *testing.T) {
	s, js, store := streamOf(t, natstest.Newest)
	for _, line := range told("1-a", "main", "192.0.2.7:1", "one\n", "two\n").lines { // 1 to 4
		store("1-a", line)
	}
	for i, line := range told("1-b", "own", "192.0.2.8:1", "one\n", "two\n").lines { // 5 to 9
		store("1-b", line)
		if i == 2 {
			store("1-b", line)
		}
	}
	stored(t, js)
	stream, err := js.Stream(t.Context(), "TCPMUX")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name           string
		args           []string
		status         int
		stdout, stderr string // stderr is a part; "" is none
	}{
		{"a gap", []string{"--session", "1-a"}, 1, "two\n", `message 3 of the stream: session "1-a": bytes 0 to 4 are missing`},
		{"a repetition", []string{"--listener", "own"}, 1, "one\ntwo\n", `message 8 of the stream: session "1-b": bytes 4 to 8 come again`},
		{"nobody", []string{"--session", "1-c"}, 1, "", `stream "TCPMUX" has no record of what was selected`},
		{"a subject that nothing has", []string{"--session", "1-b", "--subject", "tcpmux.other.*.*"}, 1, "", "no record of what was selected"},
		{"no such stream", []string{"--session", "1-a", "--stream", "OTHER"}, 1, "", `stream "OTHER": nats: API error: code=404`},
		{"no such server", []string{"--session", "1-a", "--server", "nats://127.0.0.1:1"}, 1, "", `connect to "nats://127.0.0.1:1": `},
		{"no credentials", []string{"--session", "1-a", "--creds", "/nowhere"}, 1, "", "/nowhere"},
		{"nothing selected", nil, 64, "", `want --session, --remote, --listener or --client; see "consumer --help"`},
		{"an argument", []string{"--session", "1-a", "b"}, 64, "", `unexpected argument "b"`},
		{"half a certificate", []string{"--session", "1-a", "--cert", "c"}, 64, "", "want --cert and --key together"},
		{"no time", []string{"--session", "1-a", "--since", "yesterday"}, 64, "", `invalid value "yesterday"`},
		{"help", []string{"--help"}, 0, "", "Usage: consumer --server URL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, out, errs := consume(t, s, c.args...)
			if status != c.status || out != c.stdout || !strings.Contains(errs, c.stderr) {
				t.Errorf("got %d, %q and %q, want %d, %q and %q", status, out, errs, c.status, c.stdout, c.stderr)
			}
		})
	}
}

// slowWriter lets the test in after the first bytes.
type slowWriter struct {
	wrote chan struct{}
	goOn  chan struct{}
	each  func() // called for each piece; may be nil
	n     int64
}

func (w *slowWriter) Write(b []byte) (int, error) {
	if w.each != nil {
		defer w.each()
	}
	if w.n == 0 {
		close(w.wrote)
		<-w.goOn
	}
	w.n += int64(len(b))
	return len(b), nil
}

// long stores a session that is much larger than what the program reads ahead.
func long(t *testing.T, js jetstream.JetStream, store func(session, line string)) (size int64) {
	t.Helper()
	const messages, each = 100, 500_000
	w := newTalk("1-a", "main", "192.0.2.7:1")
	for range messages {
		w.lines = w.lines[:0]
		w.say(strings.Repeat("x", each-1) + "\n")
		store("1-a", w.lines[0])
	}
	stored(t, js)
	return messages * each
}

// TestMemoryIsBounded reads while the reader of the output is slow: it goes on when the server has
// sent ahead what it may.
func TestMemoryIsBounded(t *testing.T) {
	s, js, store := streamOf(t, natstest.Newest)
	size := long(t, js, store)
	before, most := heap(), int64(0)
	w := &slowWriter{wrote: make(chan struct{}), goOn: make(chan struct{}), each: func() { most = max(most, heap()-before) }}
	status := make(chan int)
	go func() {
		status <- run(t.Context(), []string{"--server", s.URL, "--session", "1-a"}, w, &bytes.Buffer{})
	}()
	<-w.wrote
	stream, err := js.Stream(t.Context(), "TCPMUX")
	if err != nil {
		t.Fatal(err)
	}
	await.Until(t, func() bool { return hasSent(t, stream) }, func() { t.Error("the server sends more and more") })
	close(w.goOn)
	if got := <-status; got != 0 || w.n != size {
		t.Errorf("got status %d and %d bytes, want 0 and %d", got, w.n, size)
	}
	if want := size / 2; most == 0 || most > want {
		t.Errorf("got up to %d bytes more on the heap, want some, and less than %d", most, want)
	}
}

// hasSent reports whether the server has sent all that its only consumer has asked for, or all that
// there is.
func hasSent(t *testing.T, stream jetstream.Stream) bool {
	t.Helper()
	all := stream.ListConsumers(t.Context())
	sent := false
	for c := range all.Info() {
		sent = c.NumWaiting == 0 || c.NumPending == 0
	}
	if err := all.Err(); err != nil {
		t.Fatal(err)
	}
	return sent
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestEndOfTheServer kills the server while the program reads.
func TestEndOfTheServer(t *testing.T) {
	s, js, store := streamOf(t, natstest.Newest)
	long(t, js, store)
	w := &slowWriter{wrote: make(chan struct{}), goOn: make(chan struct{})}
	var errs bytes.Buffer
	status := make(chan int)
	go func() { status <- run(t.Context(), []string{"--server", s.URL, "--session", "1-a"}, w, &errs) }()
	<-w.wrote
	s.Kill()
	close(w.goOn)
	if got := <-status; got != 1 || errs.Len() == 0 {
		t.Errorf("got status %d and %q, want 1 and an error", got, errs.String())
	}
}

func TestInterrupt(t *testing.T) {
	s, js, store := streamOf(t, natstest.Newest)
	long(t, js, store)
	ctx, cancel := context.WithCancel(t.Context())
	w := &slowWriter{wrote: make(chan struct{}), goOn: make(chan struct{})}
	status := make(chan int)
	go func() {
		status <- run(ctx, []string{"--server", s.URL, "--session", "1-a"}, w, &bytes.Buffer{})
	}()
	<-w.wrote
	cancel()
	close(w.goOn)
	if got := <-status; got != 1 {
		t.Errorf("got status %d, want 1", got)
	}
}
