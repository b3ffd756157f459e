package session_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
)

// acks returns a change by which clients are acknowledged.
func acks(ack string, change func(*config.Listener)) func(*config.Config) {
	return func(cfg *config.Config) {
		cfg.Listeners[0].Ack = config.Text(ack)
		if change != nil {
			change(&cfg.Listeners[0])
		}
	}
}

// offsets returns the acknowledgements of n messages of that length.
func offsets(n, length int) string {
	var all strings.Builder
	for i := range n {
		fmt.Fprintln(&all, i*length)
	}
	return all.String()
}

func TestEachMessageIsAcknowledgedOnce(t *testing.T) {
	for _, c := range []struct {
		name, ack string
		change    func(*config.Listener)
		say, want string // with CLIENT to be replaced
	}{
		{"nothing sent", "{offset}\n", nil, "", ""},
		{"lines", "{offset}\n", nil, "a\nbb\r\n\nd\n", "0\n2\n6\n7\n"},
		{"as written", "OK\x00", nil, "a\nb\n", "OK\x00OK\x00"},
		{"placeholders", "{listener} {client} {{offset}} {nosuch}\n", nil, "a\nb\n", "tcpmux CLIENT {0} {nosuch}\ntcpmux CLIENT {2} {nosuch}\n"},
		{"an end that did not come", "{offset}\n", nil, "a\nbb", "0\n2\n"},
		{"pieces", "{offset}\n", func(l *config.Listener) { l.MaxMessage = 4 }, "123456789\nx\n1234\n", "0\n10\n12\n"},
		{"pieces without an end", "{offset}\n", func(l *config.Listener) { l.MaxMessage = 4 }, "123456789", "0\n"},
		{"NUL", "{offset}\n", func(l *config.Listener) { l.Framing = "nul" }, "a\x00b\n\x00", "0\n2\n"},
		{"malformed", "{offset}\n", func(l *config.Listener) { l.Framing = "octet-counted" }, "2 ab3 cde\x01!!", "0\n4\n"},
		{"bytes between messages", "{offset} {length}\n", func(l *config.Listener) {
			l.Framing, l.Start, l.Delimiter = "delimited", config.Text("("), []config.Bytes{config.Text(")")}
		}, "(a)" + strings.Repeat("x", 200) + "(b)(c)", "0 3\n195 11\n206 3\n"},
		{"more than a read gives", "{offset}\n", nil, strings.Repeat("x\n", 100_000), offsets(100_000, 2)},
		{"long", strings.Repeat("{listener}", 102), nil, "a\nb\n", strings.Repeat("tcpmux", 204)},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := servertest.New(t, acks(c.ack, c.change)).Open()
			conn := f.Greeted()
			go func() {
				// What is missing is not acknowledged.
				_, _ = io.WriteString(conn, c.say)
				_ = conn.CloseWrite()
			}()
			want := strings.ReplaceAll(c.want, "CLIENT", conn.Addr())
			if got := conn.HearEnd(); got != want {
				t.Errorf("got %.120q, want %.120q", got, want)
			}
		})
	}
}

func TestTheRecordIsWrittenBeforeItIsAcknowledged(t *testing.T) {
	f := servertest.New(t, acks("OK\n", nil)).Open()
	c := f.Greeted()
	f.AwaitRecords(" open from ")
	writes := f.Out.Begun()
	resume := f.Out.Hang()
	defer resume()
	c.Say("hello\n")
	awaitWrite(t, f, writes)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if n := conn.Unread(fd); n != 0 {
			t.Errorf("got %d bytes of acknowledgement before the record was written", n)
		}
	}); err != nil {
		t.Fatal(err)
	}
	resume()
	c.Hear("OK\n")
	if got := f.Out.String(); !strings.Contains(got, ": hello\n") {
		t.Errorf("acknowledged, and got %q", got)
	}
}

// flood sends a line again and again until the connection ends.
func flood(c *servertest.Client, line string) {
	lines := strings.Repeat(line, 1000)
	for {
		if _, err := io.WriteString(c, lines); err != nil {
			return
		}
	}
}

func TestAClientThatTakesNoAcknowledgementsIsEnded(t *testing.T) {
	f := servertest.New(t, acks(strings.Repeat("x", 1000), func(l *config.Listener) { l.Banner, l.AckTimeout = config.Bytes{}, 50*time.Millisecond }))
	f.Open()
	conn := f.Deaf()
	go flood(conn, "x\n")
	f.Log.Await(t, "session closed", " reason=ack ")
	got := f.AwaitRecords(" close from " + conn.Addr() + ": ack, ")
	var records, bytes int
	if _, err := fmt.Sscanf(got[strings.LastIndex(got, ": ack, "):], ": ack, %d records, %d bytes", &records, &bytes); err != nil {
		t.Fatal(err)
	}
	// The last may be half.
	if whole := strings.Count(got, ": x\n"); whole < records-1 || bytes > 2*records || records == 0 {
		t.Errorf("got %d whole messages, and %d records of %d bytes told", whole, records, bytes)
	}
}

// TestClientsThatTakeNoAcknowledgementsHarmNobody stalls more of them than there are buffers.
func TestClientsThatTakeNoAcknowledgementsHarmNobody(t *testing.T) {
	const clients = session.MaxBuffers + 4
	f, sockets := watched(t, acks(strings.Repeat("x", 1000), func(l *config.Listener) {
		l.Banner, l.AckTimeout = config.Bytes{}, 0
	}))
	f.Open()
	stalled := func() (n int) {
		sockets.each(func(fd int) {
			if out, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ); err == nil && out > 50_000 {
				n++
			}
		})
		return n
	}
	var deaf [clients]*servertest.Client
	for i := range deaf {
		deaf[i] = f.Deaf()
	}
	f.AwaitClients(clients)
	// The kernel is not to hold megabytes for each, which take long to fill.
	sockets.each(func(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<10) })
	for _, c := range deaf {
		go flood(c, strings.Repeat("x", 99)+"\n")
	}
	servertest.Eventually(t, func() bool { return stalled() == clients }, func() {
		t.Errorf("%d are stalled, want all", stalled())
	})
	conn := f.Client()
	for range 10 {
		conn.Say("hello\n")
		conn.Hear(strings.Repeat("x", 1000))
	}
}

func TestASlowTakerGetsEveryAcknowledgement(t *testing.T) {
	const lines = 40_000
	f := servertest.New(t, acks(strings.Repeat("x", 90)+"{offset}\n", func(l *config.Listener) { l.Banner = config.Bytes{} })).Open()
	conn := f.Deaf()
	go func() {
		// What is missing is not acknowledged.
		_, _ = io.WriteString(conn, strings.Repeat("x\n", lines))
		_ = conn.CloseWrite()
	}()
	want := strings.ReplaceAll("\n"+offsets(lines, 2), "\n", "\n"+strings.Repeat("x", 90))
	want = strings.TrimSuffix(want[1:], strings.Repeat("x", 90))
	if got := conn.HearEnd(); got != want {
		t.Errorf("got %d bytes, want %d: %.300q", len(got), len(want), got)
	}
}

// TestWhoDrainsIsAcknowledgedFirst: the end of the stream comes after the last acknowledgement that
// is due.
func TestWhoDrainsIsAcknowledgedFirst(t *testing.T) {
	f := servertest.New(t, acks("{offset}\n", nil)).Open()
	conn, idle := f.Greeted(), f.Greeted()
	conn.Say("a\nhalf")
	conn.Hear("0\n")
	ended := f.Shutdown(context.Background())
	if got := idle.HearEnd(); got != "" {
		t.Errorf("idle: heard %q, want the end", got)
	}
	_ = idle.CloseWrite()
	if got := conn.HearEnd(); got != "" {
		t.Errorf("heard %q, want the end", got)
	}
	conn.Say(" a line\nmore\n")
	_ = conn.CloseWrite()
	if err := servertest.Result(t, ended); err != nil {
		t.Error(err)
	}
	f.AwaitRecords(": half a line\n", ": more\n", " close from "+conn.Addr()+": eof, 3 records")
}

func TestTheDrainsEndEndsTheWaitForAcknowledgements(t *testing.T) {
	f := servertest.New(t, acks(strings.Repeat("x", 1000), func(l *config.Listener) { l.Banner, l.AckTimeout = config.Bytes{}, 0 })).Open()
	conn := f.Deaf()
	go flood(conn, "x\n")
	servertest.Eventually(t, func() bool { return f.Server.Records() > 0 }, func() { t.Error("nothing is recorded") })
	if err := servertest.Result(t, f.Shutdown(servertest.Done())); err == nil {
		t.Error("got a client that finished, want one that was closed")
	}
	f.AwaitRecords(" close from " + conn.Addr() + ": drain, ")
}

// TestWhatHasArrivedIsAcknowledgedBeforeTheEnd, also a message that is still in the socket when the
// drain begins.
func TestWhatHasArrivedIsAcknowledgedBeforeTheEnd(t *testing.T) {
	f, sockets := watched(t, acks("{offset}\n", nil))
	f.Open()
	conn := f.Greeted()
	f.AwaitRecords(" open from ")
	writes := f.Out.Begun()
	resume := f.Out.Hang()
	defer resume()
	conn.Say("a\n")
	awaitWrite(t, f, writes)
	conn.Say("b\n")
	sockets.awaitUnread(t, len("a\nb\n"))
	ended := f.Shutdown(context.Background())
	resume()
	if got, want := conn.HearEnd(), "0\n2\n"; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
	_ = conn.CloseWrite()
	if err := servertest.Result(t, ended); err != nil {
		t.Error(err)
	}
}

// TestAnAcknowledgementIsNotHeldBack: the kernel sends each at once, whether the one before was
// taken or not (tcp(7)).
func TestAnAcknowledgementIsNotHeldBack(t *testing.T) {
	f, sockets := watched(t, acks("OK\n", nil))
	f.Open().Greeted()
	sockets.each(func(fd int) {
		if on, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); err != nil || on != 1 {
			t.Errorf("TCP_NODELAY: got %d, %v, want it on", on, err)
		}
	})
}
