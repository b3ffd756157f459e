package program_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// recorded has the daemon record what a program's client sends.
func recorded(c *config.Config) { c.Listeners[0].Record = true }

// TestProgramsClientIsRecorded to the byte, and the program gets the same bytes: in short and long
// messages, some longer than may wait in the kernel, some longer than the limit.
func TestProgramsClientIsRecorded(t *testing.T) {
	const longest, clients = 40_000, 8
	f := servertest.New(t, and(running("/bin/cat"), recorded, func(c *config.Config) {
		c.Record.Format, c.Listeners[0].MaxMessage = "json", longest
	})).Open()
	sent := make(map[string]string)
	var mu sync.Mutex
	var sending sync.WaitGroup
	for i := range clients {
		sending.Go(func() {
			rnd := rand.New(rand.NewPCG(7, uint64(i)))
			stream := randomLines(rnd, 60, longest)
			c := f.Client()
			go sendInSegments(c, rnd, stream)
			if got := c.HearEnd(); got != stream {
				t.Errorf("the program gave back %d bytes, want the %d that were sent", len(got), len(stream))
			}
			mu.Lock()
			defer mu.Unlock()
			sent[c.Addr()] = stream
		})
	}
	sending.Wait()
	f.AwaitClients(0)
	streams, closed := readRecords(t, f.Out.String(), longest)
	for remote, stream := range sent {
		if streams[remote] != stream {
			t.Errorf("%s: records give back %d bytes of %d", remote, len(streams[remote]), len(stream))
		}
		end := fmt.Sprintf("exit 0, %d records, %d bytes", countMessages(stream, longest), len(stream))
		if closed[remote] != end {
			t.Errorf("%s: records close with %q, want %q", remote, closed[remote], end)
		}
	}
}

// TestProgramGetsTheStreamOfEachFraming: with all that framing takes from it, in order.
func TestProgramGetsTheStreamOfEachFraming(t *testing.T) {
	for _, c := range []struct {
		name, stream, closed string
		change               func(*config.Listener)
	}{
		{
			"several delimiters", "one\r\ntwo\rthree\n\r\nrest", "exit 0, 5 records, 21 bytes",
			func(ln *config.Listener) {
				ln.Framing = "delimited"
				ln.Delimiter = []config.Bytes{config.Text("\r\n"), config.Text("\n"), config.Text("\r")}
			},
		},
		{
			"start", "noise\x02one\x03A7\r\n\x02two\x03", "exit 0, 2 records, 19 bytes",
			func(ln *config.Listener) {
				ln.Framing, ln.Start, ln.Delimiter = "delimited", config.Text("\x02"), []config.Bytes{config.Text("\x03")}
			},
		},
		{
			"length in a header", "xx\x03one\r\nxx\x00\r\nxx\x03two\r\n", "exit 0, 3 records, 21 bytes",
			func(ln *config.Listener) {
				ln.Framing, ln.LengthOffset, ln.LengthSize, ln.LengthAdjust = "length-prefixed", 2, 1, 2
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := servertest.New(t, and(running("/bin/cat"), recorded, func(cfg *config.Config) {
				cfg.Record.Format = "json"
				c.change(&cfg.Listeners[0])
			})).Open()
			k := f.Client()
			for _, b := range []byte(c.stream) {
				k.Say(string(b))
			}
			_ = k.CloseWrite()
			if got := k.HearEnd(); got != c.stream {
				t.Errorf("the program gave back %q, want %q", got, c.stream)
			}
			f.AwaitClients(0)
			streams, closed := readRecords(t, f.Out.String(), len(c.stream))
			if got := streams[k.Addr()]; got != c.stream {
				t.Errorf("records give back %q, want %q", got, c.stream)
			}
			if got := closed[k.Addr()]; got != c.closed {
				t.Errorf("records close with %q, want %q", got, c.closed)
			}
		})
	}
}

// randomLines returns lines of random bytes, the last one without an end.
func randomLines(rnd *rand.Rand, lines, longest int) string {
	var b strings.Builder
	for range lines {
		n := rnd.IntN(300)
		switch rnd.IntN(12) {
		case 0:
			n = 0
		case 1:
			n = longest - 2 + rnd.IntN(5) // about the limit
		case 2:
			n = longest * rnd.IntN(4)
		case 3:
			n = rnd.IntN(4 * longest)
		}
		for range n {
			b.WriteByte(" \t\x00\\\x1b\"\x7f\xc2\x85ab\xff"[rnd.IntN(12)])
		}
		b.WriteString([]string{"\n", "\r\n"}[rnd.IntN(2)])
	}
	b.WriteString(strings.Repeat("z", 1+rnd.IntN(3*longest)))
	return b.String()
}

// countMessages returns how many messages lines are, of which none is longer than longest.
func countMessages(stream string, longest int) (n int) {
	for line := range strings.Lines(stream) {
		text, ended := strings.CutSuffix(line, "\n")
		if ended {
			text = strings.TrimSuffix(text, "\r")
		}
		n += max(1, (len(text)+longest-1)/longest)
	}
	return n
}

// sendInSegments sends a stream in segments of random sizes, and its end.
func sendInSegments(c *servertest.Client, rnd *rand.Rand, stream string) {
	for rest := stream; len(rest) > 0; {
		n := min(1+rnd.IntN(20_000), len(rest))
		if _, err := io.WriteString(c, rest[:n]); err != nil {
			return
		}
		rest = rest[n:]
	}
	_ = c.CloseWrite()
}

// readRecords returns, for each client, the stream that its messages give back, and what the record
// of its end says. Messages are no longer than longest.
func readRecords(t *testing.T, text string, longest int) (streams, closed map[string]string) {
	t.Helper()
	streams, closed = make(map[string]string), make(map[string]string)
	for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
		var r struct {
			Kind, Remote, Reason   string
			Offset, Records, Bytes int64
			Head, Data, End        *string
			HeadBase64             []byte `json:"head_base64"`
			DataBase64             []byte `json:"data_base64"`
			EndBase64              []byte `json:"end_base64"`
		}
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		switch r.Kind {
		case "close":
			closed[r.Remote] += fmt.Sprintf("%s, %d records, %d bytes", r.Reason, r.Records, r.Bytes)
		case "message":
			data := either(r.Data, r.DataBase64)
			if r.Offset != int64(len(streams[r.Remote])) || len(data) > longest {
				t.Errorf("%s: got %d bytes at %d, want at most %d at %d",
					r.Remote, len(data), r.Offset, longest, len(streams[r.Remote]))
			}
			streams[r.Remote] += either(r.Head, r.HeadBase64) + data + either(r.End, r.EndBase64)
		}
	}
	return streams, closed
}

// either returns a member of a record, which is in base64 if it is not text.
func either(text *string, base64 []byte) string {
	if text != nil {
		return *text
	}
	return string(base64)
}

// TestProgramGetsOnlyWhatIsRecorded: nothing before it is written.
func TestProgramGetsOnlyWhatIsRecorded(t *testing.T) {
	f := servertest.New(t, and(running("/bin/cat"), recorded)).Open()
	c := f.Client()
	c.Say("first\n")
	c.Hear("first\n")
	resume := f.Out.Hang()
	defer resume()
	before := f.Out.Begun()
	c.Say("second\n")
	servertest.Eventually(t, func() bool { return f.Out.Begun() > before }, func() { t.Error("nothing is recorded") })
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("heard %d bytes before they were recorded", n)
	}
	_ = c.SetReadDeadline(time.Now().Add(servertest.Patience))
	resume()
	c.Hear("second\n")
}

// TestProgramOfRecordedClientStartsClean: its input is a pipe that blocks, its output the
// connection, which blocks too.
func TestProgramOfRecordedClientStartsClean(t *testing.T) {
	closeOnExec(t)
	f := servertest.New(t, and(shell(`grep -h ^flags /proc/$$/fdinfo/0 /proc/$$/fdinfo/1;
		readlink /proc/$$/fd/0 /proc/$$/fd/1; ls /proc/$$/fd; :`), recorded)).Open()
	got, want := f.Client().HearEnd(), regexp.MustCompile(`^flags:\t00\nflags:\t02\npipe:\S+\nsocket:\S+\n0\n1\n2\n$`)
	if !want.MatchString(got) {
		t.Errorf("got %q, want %v", got, want)
	}
}

// TestProgramThatDoesNotReadBlocksOnlyItsClient: no buffer that other clients need is held.
func TestProgramThatDoesNotReadBlocksOnlyItsClient(t *testing.T) {
	f := servertest.New(t, and(shell("echo $$; exec sleep 1000"), recorded)).Open()
	const clients, line = 40, "a line of the client\n" // more clients than there are buffers
	for range clients {
		c := f.Client()
		go func() { _, _ = io.WriteString(c, strings.Repeat(line, 100_000)) }()
	}
	pipe := int64(64<<10) / int64(len(line))
	servertest.Eventually(t, func() bool { return f.Server.Records() >= clients*pipe }, func() {
		t.Errorf("records: got %d, want what %d pipes take at least", f.Server.Records(), clients)
	})
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
	defer cancel()
	resume := f.Server.Pause(ctx) // it waits until all buffers are free
	if resume == nil {
		t.Fatal("buffers are held, want none")
	}
	resume()
	f.Close()
	f.AwaitClients(0)
}

// TestProgramThatReadsNoMore has its client recorded all the same, until the program ends.
func TestProgramThatReadsNoMore(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "flag")
	script := "exec <&-; echo ready; while [ ! -e " + flag + " ]; do sleep 0.01; done; echo bye"
	f := servertest.New(t, and(shell(script), recorded)).Open()
	c := f.Client()
	c.Hear("ready\n")
	for i := range 3 {
		c.Say(fmt.Sprintf("line %d\n", i))
		f.AwaitRecords(fmt.Sprintf(": line %d\n", i))
	}
	c.Say("half")
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := c.HearEnd(); got != "bye\n" {
		t.Errorf("heard %q, want bye", got)
	}
	f.AwaitRecords(" from "+c.Addr()+" [timeout]: half\n", "close from "+c.Addr()+": exit 0, 4 records, 25 bytes\n")
}

// TestProgramGoesOnWhenItsClientHasSentAll: it gets the end of its input, and has its time.
func TestProgramGoesOnWhenItsClientHasSentAll(t *testing.T) {
	f := servertest.New(t, and(shell("cat >/dev/null; echo all; exit 3"), recorded)).Open()
	c := f.Client()
	c.Say("one\ntwo")
	_ = c.CloseWrite()
	if got := c.HearEnd(); got != "all\n" {
		t.Errorf("heard %q, want all", got)
	}
	f.AwaitRecords(" [eof]: two\n", "close from "+c.Addr()+": exit 3, 2 records, 7 bytes\n")
}

func TestWhatEndsRecordedClientStopsItsProgram(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(*config.Listener)
		say        string
		end        func(*servertest.Fixture)
	}{
		{"idle", "idle, 0 records", func(ln *config.Listener) { ln.IdleTimeout = 50 * time.Millisecond }, "", nil},
		{"malformed", "malformed, 1 records", func(ln *config.Listener) { ln.Framing = "octet-counted" }, "\x01", nil},
		{"exec timeout", "timeout, 1 records", func(ln *config.Listener) { ln.ExecTimeout = 100 * time.Millisecond }, "hello\n", nil},
		{
			"end of the drain", "drain, 1 records", nil, "hello\n",
			func(f *servertest.Fixture) { _ = f.Server.Shutdown(servertest.Done()) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := servertest.New(t, and(shell("sleep 1000 & wait"), recorded, func(cfg *config.Config) {
				if c.change != nil {
					c.change(&cfg.Listeners[0])
				}
			})).Open()
			k := f.Client()
			k.Say(c.say)
			if c.end != nil {
				f.AwaitRecords(": hello\n")
				c.end(f)
			}
			k.HearEnd()
			f.AwaitRecords("close from " + k.Addr() + ": " + c.want)
			f.Log.Await(t, "program was stopped: signal 15")
		})
	}
}

func TestProgramsOfRecordedClientsLeaveNothingBehind(t *testing.T) { leavesNothing(t, recorded) }
