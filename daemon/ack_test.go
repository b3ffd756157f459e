package daemon

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/record"
)

// acking is a desk whose clients are acknowledged.
func acking(t *testing.T, ack string, change func(*config.Listener)) *desk {
	t.Helper()
	return newDesk(t, func(cfg *config.Config) {
		cfg.Listeners[0].Ack = config.Text(ack)
		if change != nil {
			change(&cfg.Listeners[0])
		}
	})
}

// offsets are the acknowledgements of n messages of that length.
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
		{"nothing said", "{offset}\n", nil, "", ""},
		{"lines", "{offset}\n", nil, "a\nbb\r\n\nd\n", "0\n2\n6\n7\n"},
		{"as written", "OK\x00", nil, "a\nb\n", "OK\x00OK\x00"},
		{"placeholders", "{listener} {client} {{offset}} {nosuch}\n", nil, "a\nb\n", "tcpmux CLIENT {0} {nosuch}\ntcpmux CLIENT {2} {nosuch}\n"},
		{"an end that did not come", "{offset}\n", nil, "a\nbb", "0\n2\n"},
		{"pieces", "{offset}\n", func(l *config.Listener) { l.MaxMessage = 4 }, "123456789\nx\n1234\n", "0\n10\n12\n"},
		{"pieces without an end", "{offset}\n", func(l *config.Listener) { l.MaxMessage = 4 }, "123456789", "0\n"},
		{"NUL", "{offset}\n", func(l *config.Listener) { l.Framing = "nul" }, "a\x00b\n\x00", "0\n2\n"},
		{"malformed", "{offset}\n", func(l *config.Listener) { l.Framing = "octet-counted" }, "2 ab3 cde\x01!!", "0\n4\n"},
		{"more than a read gives", "{offset}\n", nil, strings.Repeat("x\n", 100_000), offsets(100_000, 2)},
		{"long", strings.Repeat("{listener}", 102), nil, "a\nb\n", strings.Repeat("tcpmux", 204)},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := acking(t, c.ack, c.change).open()
			conn := d.greeted()
			go func() {
				_, _ = io.WriteString(conn, c.say) // what is missing is not acknowledged
				_ = conn.CloseWrite()
			}()
			want := strings.ReplaceAll(c.want, "CLIENT", conn.addr())
			if got := conn.hearEnd(); got != want {
				t.Errorf("got %.120q, want %.120q", got, want)
			}
		})
	}
}

func TestTheRecordIsWrittenBeforeItIsAcknowledged(t *testing.T) {
	d := acking(t, "OK\n", nil).open()
	conn := d.greeted()
	d.records(" open from ")
	writes := d.out.begun()
	resume := d.out.hang()
	defer resume()
	conn.say("hello\n")
	eventually(t, func() bool { return d.out.begun() > writes }, func() { t.Error("got no write, want one that hangs") })
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if n := unread(fd); n != 0 {
			t.Errorf("got %d bytes of acknowledgement before the record was written", n)
		}
	}); err != nil {
		t.Fatal(err)
	}
	resume()
	conn.hear("OK\n")
	if got := d.out.String(); !strings.Contains(got, ": hello\n") {
		t.Errorf("acknowledged, and got %q", got)
	}
}

// flood says lines of two bytes until the connection ends.
func flood(c *client) {
	lines := strings.Repeat("x\n", 10_000)
	for {
		if _, err := io.WriteString(c, lines); err != nil {
			return
		}
	}
}

func TestWhoTakesNoAcknowledgementsIsClosed(t *testing.T) {
	d := acking(t, strings.Repeat("x", 1000), func(l *config.Listener) { l.Banner, l.AckTimeout = config.Bytes{}, 50*time.Millisecond })
	d.banner = ""
	d.open()
	conn := d.deaf()
	go flood(conn)
	d.log.await(t, "session closed", " reason=ack ")
	got := d.records(" close from " + conn.addr() + ": ack, ")
	var records, bytes int
	if _, err := fmt.Sscanf(got[strings.LastIndex(got, ": ack, "):], ": ack, %d records, %d bytes", &records, &bytes); err != nil {
		t.Fatal(err)
	}
	if whole := strings.Count(got, ": x\n"); whole < records-1 || bytes > 2*records || records == 0 { // the last may be half
		t.Errorf("got %d whole messages, and %d records of %d bytes told", whole, records, bytes)
	}
}

// TestClientsThatTakeNoAcknowledgementsHarmNobody stalls more of them than there are workspaces.
func TestClientsThatTakeNoAcknowledgementsHarmNobody(t *testing.T) {
	d := acking(t, strings.Repeat("x", 1000), func(l *config.Listener) { l.Banner, l.AckTimeout = config.Bytes{}, 0 }).open()
	stalled := func() (n int) {
		d.srv.mu.Lock()
		defer d.srv.mu.Unlock()
		for s := range d.srv.sessions {
			s.model.control(func(fd uintptr) {
				if out, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil && out > 50_000 {
					n++
				}
			})
		}
		return n
	}
	for range maxWorkspaces + 4 {
		go flood(d.deaf())
	}
	eventually(t, func() bool { return stalled() == maxWorkspaces+4 }, func() { t.Errorf("%d are stalled, want all", stalled()) })
	conn := d.client()
	for range 10 {
		conn.say("hello\n")
		conn.hear(strings.Repeat("x", 1000))
	}
}

func TestASlowTakerGetsEveryAcknowledgement(t *testing.T) {
	const lines = 40_000
	d := acking(t, strings.Repeat("x", 90)+"{offset}\n", func(l *config.Listener) { l.Banner = config.Bytes{} }).open()
	conn := d.deaf()
	go func() {
		_, _ = io.WriteString(conn, strings.Repeat("x\n", lines)) // what is missing is not acknowledged
		_ = conn.CloseWrite()
	}()
	want := strings.ReplaceAll("\n"+offsets(lines, 2), "\n", "\n"+strings.Repeat("x", 90))
	want = strings.TrimSuffix(want[1:], strings.Repeat("x", 90))
	if got := conn.hearEnd(); got != want {
		t.Errorf("got %d bytes, want %d: %.300q", len(got), len(want), got)
	}
}

// TestWhoDrainsIsAcknowledgedFirst holds that the end of the stream comes behind the last acknowledgement that is due.
func TestWhoDrainsIsAcknowledgedFirst(t *testing.T) {
	d := acking(t, "{offset}\n", nil).open()
	conn, idle := d.greeted(), d.greeted()
	conn.say("a\nhalf")
	conn.hear("0\n")
	ended := d.shutdown(context.Background())
	if got := idle.hearEnd(); got != "" {
		t.Errorf("idle: heard %q, want the end", got)
	}
	_ = idle.CloseWrite()
	if got := conn.hearEnd(); got != "" {
		t.Errorf("heard %q, want the end", got)
	}
	conn.say(" a line\nmore\n")
	_ = conn.CloseWrite()
	if err := result(t, ended); err != nil {
		t.Error(err)
	}
	d.records(": half a line\n", ": more\n", " close from "+conn.addr()+": eof, 3 records")
}

func TestTheDrainsEndEndsTheWaitForAcknowledgements(t *testing.T) {
	d := acking(t, strings.Repeat("x", 1000), func(l *config.Listener) { l.Banner, l.AckTimeout = config.Bytes{}, 0 }).open()
	conn := d.deaf()
	go flood(conn)
	eventually(t, func() bool { return d.srv.Records() > 0 }, func() { t.Error("nothing is recorded") })
	if err := result(t, d.shutdown(over())); err == nil {
		t.Error("got a client that finished, want one that was closed")
	}
	d.records(" close from " + conn.addr() + ": drain, ")
}

func TestAcknowledgementsAllocateNothing(t *testing.T) {
	ln := newListener(config.Listener{Ack: config.Text("{listener} {session} {time} {offset}\n")}, nil, false)
	s := &session{source: record.Source{Listener: "tcpmux", Session: "0-1"}}
	text, out := ln.settings.Load().ack.bind(s), make([]byte, 0, 100)
	if n := testing.AllocsPerRun(1000, func() { out = text.appendTo(out[:0], s, 1234567) }); n != 0 {
		t.Errorf("got %v allocations for an acknowledgement, want 0", n)
	}
	if !strings.HasPrefix(string(out), "tcpmux 0-1 2") || !strings.HasSuffix(string(out), "Z 1234567\n") {
		t.Errorf("got %q, want all filled in", out)
	}
}

// TestWhatHasArrivedIsAcknowledgedBeforeTheEnd holds that a message which waits in the kernel when the drain begins is, too.
func TestWhatHasArrivedIsAcknowledgedBeforeTheEnd(t *testing.T) {
	d := acking(t, "{offset}\n", nil).open()
	conn := d.greeted()
	d.records(" open from ")
	writes := d.out.begun()
	resume := d.out.hang()
	defer resume()
	conn.say("a\n")
	eventually(t, func() bool { return d.out.begun() > writes }, func() { t.Error("got no write, want one that hangs") })
	conn.say("b\n")
	eventually(t, func() bool { return d.inKernel() == len("a\nb\n") }, func() { t.Errorf("%d bytes have arrived", d.inKernel()) })
	ended := d.shutdown(context.Background())
	resume()
	if got, want := conn.hearEnd(), "0\n2\n"; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
	_ = conn.CloseWrite()
	if err := result(t, ended); err != nil {
		t.Error(err)
	}
}

// inKernel is how many bytes of all clients were not taken from the kernel yet.
func (d *desk) inKernel() (n int) {
	d.srv.mu.Lock()
	defer d.srv.mu.Unlock()
	for s := range d.srv.sessions {
		s.model.control(func(fd uintptr) { n += unread(fd) })
	}
	return n
}

// TestAnAcknowledgementIsNotHeldBack holds that the kernel sends each at once, whether the one before was taken or not (tcp(7)).
func TestAnAcknowledgementIsNotHeldBack(t *testing.T) {
	d := acking(t, "OK\n", nil).open()
	d.greeted()
	d.srv.mu.Lock()
	defer d.srv.mu.Unlock()
	for s := range d.srv.sessions {
		s.model.control(func(fd uintptr) {
			if on, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY); err != nil || on != 1 {
				t.Errorf("TCP_NODELAY: got %d, %v, want it on", on, err)
			}
		})
	}
}
