package session_test

import (
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// TestEveryMessageIsRecordedOnceWholeAndInOrder owns the promise: any bytes, in any
// segments, over rotations.
func TestEveryMessageIsRecordedOnceWholeAndInOrder(t *testing.T) {
	const clients, messages, most = 8, 40, 1 << 10
	for _, c := range []struct {
		name     string
		format   string
		compress bool
		events   config.Events
	}{
		{"text", "text", false, config.AllEvents},
		{"text compressed", "text", true, config.EventsOnData},
		{"json", "json", false, config.NoEvents},
		{"json compressed", "json", true, config.EventsOnData},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := servertest.NewWithFile(t, func(cfg *config.Config) {
				cfg.Listeners[0].MaxMessage = most
				cfg.Record.Format, cfg.Record.Events = c.format, c.events
				cfg.Record.MaxSize, cfg.Record.MaxBackups, cfg.Record.Compress = 48<<10, 0, c.compress
			}).Open()

			sent := make(map[string]string)
			var mu sync.Mutex
			var talking sync.WaitGroup
			for i := range clients {
				talking.Go(func() {
					rnd := rand.New(rand.NewPCG(1, uint64(i)))
					stream := randomLines(rnd, messages, most)
					remote := sendStream(f, rnd, stream)
					mu.Lock()
					defer mu.Unlock()
					sent[remote] = stream
				})
			}
			talking.Wait()
			f.Finish()
			if c.compress {
				awaitCompressed(t, f.Path)
			}
			checkPromise(t, f, c.format, c.events, most, sent)
		})
	}
}

// checkPromise compares the record files with what was sent.
func checkPromise(t *testing.T, f *servertest.Fixture, format string, events config.Events, most int, sent map[string]string) {
	t.Helper()
	files := recordFiles(t, f.Path)
	if len(files) < 5 {
		t.Errorf("got %d record files, want several rotations", len(files))
	}
	l := newLedger()
	for _, name := range files {
		l.read(t, format, readRecords(t, name))
	}
	var total int
	for remote, stream := range sent {
		want := expected(stream, most, format == "json")
		total += len(want)
		l.compare(t, remote, want)
		if format == "json" && l.streams[remote] != stream {
			t.Errorf("%s: its %d records give back %d bytes, want the %d that it sent", remote, len(want), len(l.streams[remote]), len(stream))
		}
		if events == config.NoEvents {
			continue
		}
		end := closing("eof", int64(len(want)), int64(len(stream)))
		if got := l.closed[remote]; len(got) != 1 || got[0] != end || l.opened[remote] != 1 {
			t.Errorf("%s: got %d open and %q at the close, want 1 and %q", remote, l.opened[remote], got, end)
		}
	}
	if got := len(l.messages); got != len(sent) {
		t.Errorf("got messages from %d clients, want %d", got, len(sent))
	}
	if got := f.Server.Records(); got != int64(total) {
		t.Errorf("records: got %d, want %d", got, total)
	}
}

// randomLines returns a client's stream: lines of random bytes, ended by LF or CRLF, the last one
// sometimes not at all.
func randomLines(rnd *rand.Rand, messages, most int) string {
	var b strings.Builder
	for range messages {
		n := rnd.IntN(300)
		switch rnd.IntN(12) {
		case 0:
			n = 0
		case 1:
			n = most - 2 + rnd.IntN(5) // about the limit
		case 2:
			n = most * rnd.IntN(4)
		case 3:
			n = rnd.IntN(4 * most)
		}
		printable := rnd.IntN(3) == 0
		for range n {
			b.WriteByte(letter(rnd, printable))
		}
		b.WriteString([]string{"\n", "\r\n"}[rnd.IntN(2)])
	}
	if rnd.IntN(2) == 0 {
		for range 1 + rnd.IntN(3*most) {
			b.WriteByte(letter(rnd, false))
		}
	}
	return b.String()
}

// letter returns any byte but LF, and more often than by chance one with a meaning to terminals or
// records.
func letter(rnd *rand.Rand, printable bool) byte {
	if printable {
		return byte(' ' + rnd.IntN('~'-' '+1))
	}
	if rnd.IntN(8) == 0 {
		return "\r\x00\\\x1b\"\x7f\xc2\x85: ["[rnd.IntN(11)]
	}
	if c := byte(rnd.IntN(256)); c != '\n' {
		return c
	}
	return 0
}

// sendStream sends a stream in random segments and waits for the server to have closed. It returns
// the client's address.
func sendStream(f *servertest.Fixture, rnd *rand.Rand, stream string) (remote string) {
	c := f.Client()
	for rest := stream; len(rest) > 0; {
		n := min(1+rnd.IntN([]int{3, 100, 4000, 70_000}[rnd.IntN(4)]), len(rest))
		if _, err := io.WriteString(c, rest[:n]); err != nil {
			f.T.Errorf("client: %v", err)
			break
		}
		rest = rest[n:]
		if rnd.IntN(4) == 0 {
			// The pace of a client, which keeps segments apart.
			time.Sleep(time.Duration(rnd.IntN(500)) * time.Microsecond)
		}
	}
	_ = c.CloseWrite()
	if got := c.HearEnd(); got != f.Banner {
		f.T.Errorf("client: heard %q, want %q", got, f.Banner)
	}
	return c.Addr()
}

func TestExpectedCutsAsTheFramingPromises(t *testing.T) {
	for _, c := range []struct {
		name, stream string
		want         []entry
	}{
		{"nothing", "", nil},
		{"an empty line", "\n", []entry{{"", "", 0}}},
		{"CRLF and LF", "ab\r\ncd\n", []entry{{"ab", "", 0}, {"cd", "", 4}}},
		{"no end", "ab\r", []entry{{"ab\r", "eof", 0}}},
		{"twice the limit", "abcdefgh\r\ni\n", []entry{{"abcd", "cut", 0}, {"efgh", "cut", 4}, {"i", "", 10}}},
		{"too long and no end", "abcdefg", []entry{{"abcd", "cut", 0}, {"efg", "eof", 4}}},
	} {
		if got := expected(c.stream, 4, true); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestUrgentBytesStayInTheStream: telnet sends some.
func TestUrgentBytesStayInTheStream(t *testing.T) {
	f := servertest.New(t, nil).Open()
	c := f.Greeted()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	c.Say("ab")
	if cerr := raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	c.Say("cd\n")
	f.AwaitRecords(": ab!cd\n")
}
