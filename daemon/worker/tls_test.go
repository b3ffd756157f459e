package worker_test

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// secured returns a server of which processes serve clients that speak TLS.
func secured(t *testing.T, change func(*config.Listener)) (*servertest.TLS, *servertest.Fixture) {
	t.Helper()
	secure := servertest.NewTLS(t)
	f := servertest.New(t, func(c *config.Config) {
		byProcess(c)
		if change != nil {
			change(&c.Listeners[0])
		}
	}, secure.Option)
	return secure, f.Open()
}

// acknowledged has clients get the offset of each message that is recorded.
func acknowledged(ln *config.Listener) { ln.Ack = config.Text("{offset}\n") }

// TestAProcessServesAClientThatSpeaksTLS as any other: every message is recorded and acknowledged,
// whatever its size and however it comes, and it is the client's address that the banner has.
func TestAProcessServesAClientThatSpeaksTLS(t *testing.T) {
	const longest = 200_000
	secure, f := secured(t, func(ln *config.Listener) {
		acknowledged(ln)
		ln.Banner, ln.MaxMessage = config.Text("{server} {client}\r\n"), longest
	})
	c := secure.Client(f)
	c.Hear(f.Addr().String() + " " + c.Addr() + "\r\n")
	var want, offsets strings.Builder
	sent := 0
	for _, n := range []int{0, 1, 100, 20_000, longest} {
		line := strings.Repeat("x", n)
		c.Say(line[:n/2])
		c.Say(line[n/2:] + "\n")
		fmt.Fprintf(&offsets, "%d\n", sent)
		sent += n + 1
		fmt.Fprintf(&want, " from %s: %s\n", c.Addr(), line)
	}
	c.Say("rest")
	_ = c.CloseWrite()
	fmt.Fprintf(&offsets, "%d\n", sent)
	if got := c.HearEnd(); got != offsets.String() {
		t.Errorf("heard %q, want %q", got, offsets.String())
	}
	fmt.Fprintf(&want, " from %s [eof]: rest\n", c.Addr())
	records := f.AwaitRecords(fmt.Sprintf("close from %s: eof, 6 records, %d bytes", c.Addr(), sent+4))
	var got strings.Builder
	for line := range strings.Lines(records) {
		if _, record, found := strings.Cut(line, "Z from "); found {
			got.WriteString(" from " + record)
		}
	}
	if got.String() != want.String() {
		t.Errorf("records: got %d bytes, want %d", got.Len(), want.Len())
	}
}

// TestHowATLSClientEnds is recorded, though its process only sees that the pair is closed.
func TestHowATLSClientEnds(t *testing.T) {
	for _, c := range []struct {
		reason string
		end    func(c *servertest.TLSClient)
	}{
		{"eof", func(c *servertest.TLSClient) { _ = c.Close() }},
		{"reset", func(c *servertest.TLSClient) { c.Raw.Reset() }},
		{"truncated", func(c *servertest.TLSClient) { _ = c.Raw.Close() }},
	} {
		t.Run(c.reason, func(t *testing.T) {
			secure, f := secured(t, func(ln *config.Listener) { ln.Banner = config.Bytes{} })
			k := secure.Client(f)
			k.Say("one\nhalf")
			f.AwaitRecords(": one\n")
			c.end(k)
			f.AwaitRecords(" [eof]: half\n", "close from "+k.Addr()+": "+c.reason+", 2 records, 8 bytes")
		})
	}
}

// TestAProcessOfATLSClientDies: all that was acknowledged is recorded, and the client is told of
// the end.
func TestAProcessOfATLSClientDies(t *testing.T) {
	secure, f := secured(t, acknowledged)
	c := secure.Client(f)
	c.Hear(f.Banner)
	other := secure.Client(f)
	other.Hear(f.Banner)
	c.Say("hello\n")
	c.Hear("0\n")
	victims := processes(t)
	go func() {
		for {
			if _, err := io.WriteString(c, "more\n"); err != nil {
				return
			}
		}
	}()
	acks, last := bufio.NewReader(c), 0
	for last < 1000 {
		if _, err := fmt.Fscanf(acks, "%d\n", &last); err != nil {
			t.Fatal(err)
		}
	}
	for _, pid := range victims { // all that there are: which is whose does not matter
		kill(t, pid, unix.SIGKILL)
	}
	for {
		if _, err := fmt.Fscanf(acks, "%d\n", &last); err != nil {
			break // the end; it still sends, so that may be a reset
		}
	}
	f.AwaitRecords("close from "+c.Addr()+": process, ", "close from "+other.Addr()+": process, ")
	acknowledged := (last-len("hello\n"))/len("more\n") + 1
	if n := strings.Count(f.Out.String(), ": more\n"); n < acknowledged {
		t.Errorf("recorded %d messages, want the %d that were acknowledged", n, acknowledged)
	}
	if got := other.HearEnd(); got != "" {
		t.Errorf("heard %q, want the end", got)
	}
	next := secure.Client(f)
	next.Hear(f.Banner)
}

// TestATLSClientThatIsToFinish is told so, and what it sends then is recorded.
func TestATLSClientThatIsToFinish(t *testing.T) {
	secure, f := secured(t, acknowledged)
	c := secure.Client(f)
	c.Hear(f.Banner)
	ended := f.Shutdown(t.Context())
	if got := c.HearEnd(); got != "" {
		t.Errorf("heard %q, want the end", got)
	}
	c.Say("late\n")
	_ = c.Close()
	if err := servertest.Result(t, ended); err != nil {
		t.Error(err)
	}
	f.AwaitRecords(": late\n", "close from "+c.Addr()+": eof, 1 records")
}

// TestWhatATLSClientHasSentIsRecorded when the time to finish is over, though it did not fit the
// pair of sockets.
func TestWhatATLSClientHasSentIsRecorded(t *testing.T) {
	secure, f := secured(t, nil)
	c := secure.Client(f)
	c.Hear(f.Banner)
	resume := f.Out.Hang()
	t.Cleanup(resume)
	line := strings.Repeat("x", 10_000) + "\n"
	arrived := 0
	for ; arrived < 200; arrived++ { // until all buffers are full
		c.Say(line)
		if !arrives(t, c) {
			break
		}
	}
	ended := f.Shutdown(servertest.Done())
	servertest.Eventually(t, func() bool { return f.Server.Finishing() == 1 }, func() {
		t.Error("the session goes on")
	})
	resume()
	_ = servertest.Result(t, ended) // it did not finish
	f.AwaitRecords("close from " + c.Addr() + ": drain, ")
	if got := strings.Count(f.Out.String(), ": "+line); got < arrived {
		t.Errorf("recorded %d lines, want the %d that have arrived", got, arrived)
	}
}

// arrives reports whether all that a client has sent arrives soon. If it does not, most likely
// there is no room for it.
func arrives(t *testing.T, c *servertest.TLSClient) bool {
	for range 100 {
		if unsent(t, c) == 0 {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// unsent returns how many bytes of a client have not arrived.
func unsent(t *testing.T, c *servertest.TLSClient) (n int) {
	t.Helper()
	raw, err := c.Raw.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestATLSClientThatTakesNothing does not keep the daemon from its end.
func TestATLSClientThatTakesNothing(t *testing.T) {
	secure, f := secured(t, func(ln *config.Listener) {
		ln.Ack, ln.AckTimeout = config.Text(strings.Repeat("a", 1000)), time.Hour
	})
	c := secure.Over(f.Deaf())
	c.Hear(f.Banner)
	go func() {
		for {
			if _, err := io.WriteString(c, strings.Repeat("\n", 1000)); err != nil {
				return
			}
		}
	}()
	servertest.Eventually(t, func() bool { return waitsForAck(f) }, func() { t.Error("its acknowledgements do not wait") })
	if err := f.Server.Shutdown(servertest.Done()); err == nil {
		t.Error("got nil, want how many clients did not finish")
	}
	f.AwaitRecords("close from " + c.Addr() + ": drain, ")
	if strings.Contains(f.Log.String(), "was killed") {
		t.Error("its process was killed")
	}
}

// waitsForAck reports whether nothing has been recorded for a while, most likely because the client
// does not take its acknowledgements.
func waitsForAck(f *servertest.Fixture) bool {
	before := len(f.Out.String())
	time.Sleep(20 * time.Millisecond)
	return before > 100_000 && len(f.Out.String()) == before
}

func TestProcessesOfTLSClientsLeaveNothingBehind(t *testing.T) {
	const clients = 10
	secure := servertest.NewTLS(t)
	f := servertest.New(t, func(c *config.Config) {
		byProcess(c)
		c.Limits.Clients = 2 * clients
	}, secure.Option).Open()
	f.LeavesNothing(clients, func() *servertest.Client {
		c := secure.Client(f)
		c.Hear(f.Banner)
		c.Say("hello\n")
		return c.Raw
	})
}
