package conn_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
)

// memory is what a Tracked notes. It finds out whether a process that goes on with the socket fd
// would know how much was taken, if this one died now.
type memory struct {
	t                     *testing.T
	fd                    int
	written               int // by the client
	offset, target, ahead int
	sent                  int
	urgent                bool // the client sends what is none of the stream
}

func (m *memory) Taking(n, ahead int) {
	m.check()
	m.target, m.ahead = m.offset+n, ahead
	m.check()
}

func (m *memory) Taken(n int) {
	m.check()
	m.offset += n
	m.target = m.offset
	m.check()
}

func (m *memory) SetSent() { m.sent++ }

func (m *memory) check() {
	if m.t.Helper(); m.urgent {
		return
	}
	ahead, err := conn.PeekOffset(uintptr(m.fd))
	if err != nil {
		m.t.Fatal(err)
	}
	got := m.offset
	if m.target > m.offset {
		got += max(min(m.ahead-ahead, m.target-m.offset), 0)
	}
	if want := m.written - conn.Unread(uintptr(m.fd)); got != want {
		m.t.Errorf("got %d bytes taken, want %d", got, want)
	}
}

// newTracked returns a Tracked connection, its client, and what it notes.
func newTracked(t *testing.T, kind string) (*conn.Tracked, *os.File, *memory) {
	client, fd := unixPair(t)
	var below conn.Conn = conn.NewThread(fd, new(conn.Wakeup))
	if kind == "poll" {
		below = newPoll(t, fd)
	}
	t.Cleanup(below.Close)
	m := &memory{t: t, fd: fd}
	return conn.Track(below, m), client, m
}

// TestWhatWasTakenIsKnown at every moment, whatever is peeked and taken of what has come in
// whatever pieces; and the stream is that which the client has sent.
func TestWhatWasTakenIsKnown(t *testing.T) {
	for _, kind := range []string{"poll", "thread"} {
		random := rand.New(rand.NewPCG(1, 2))
		c, client, m := newTracked(t, kind)
		var stream strings.Builder // what is in the socket
		buf := make([]byte, 1<<17)
		for i := range 3000 {
			if t.Failed() {
				t.Fatalf("%s, step %d", kind, i)
			}
			m.check()
			switch head := stream.String(); random.IntN(5) {
			case 0, 1:
				text := strings.Repeat(fmt.Sprint(i, " "), 1+random.IntN(1+random.IntN(3000)))
				n, _ := unix.Write(int(client.Fd()), []byte(text))
				n = max(n, 0)
				m.written += n
				stream.WriteString(text[:n])
			case 2:
				n, err := c.Peek(buf[:1+random.IntN(len(buf))])
				if n > 0 && string(buf[:n]) != head[:n] || n < 1 && (head != "" || err != unix.EAGAIN) {
					t.Errorf("peek: got %d bytes, %v, which the client has not sent", n, err)
				}
			case 3:
				n, err := c.Take(buf[:1+random.IntN(len(buf))])
				if n > 0 && string(buf[:n]) != head[:n] || n < 1 && (head != "" || err != unix.EAGAIN) {
					t.Errorf("take: got %d bytes, %v, which the client has not sent", n, err)
				}
				stream.Reset()
				stream.WriteString(head[max(n, 0):])
			default:
				n := random.IntN(len(head) + 1)
				if err := c.Discard(n); err != nil {
					t.Errorf("discard %d of %d bytes: %v", n, len(head), err)
				}
				stream.Reset()
				stream.WriteString(head[n:])
			}
		}
		if err := c.Discard(stream.Len() + 1); err == nil {
			t.Error("discard of more than has come: got no error")
		}
		m.check()
	}
}

// TestATakeThatEndsEarlyIsKnown: the kernel lets go of what it has copied before it could copy no
// more, as when a process is killed that waits for its memory.
func TestATakeThatEndsEarlyIsKnown(t *testing.T) {
	mem, err := unix.Mmap(-1, 0, 2*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	if err := unix.Mprotect(mem[len(mem)/2:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	for there := range 40 { // bytes that there is memory for
		c, client, m := newTracked(t, "poll")
		for range 5 {
			n, _ := client.WriteString("line 1\n")
			m.written += n
		}
		_, _ = c.Take(mem[len(mem)/2-there:][:40]) // EFAULT, or what came before
		if got := m.written - m.offset; got == 35 != (there < 7) {
			t.Errorf("memory for %d bytes: got %d left", there, got)
		}
		m.check()
	}
}

// TestDescriptorsOfAClient are nobody's, and what comes with them is part of the stream.
func TestDescriptorsOfAClient(t *testing.T) {
	c, client, m := newTracked(t, "poll")
	rights := unix.UnixRights(int(client.Fd()))
	for i := range 5 {
		oob := rights
		if i%2 == 0 {
			oob = nil
		}
		if err := unix.Sendmsg(int(client.Fd()), []byte("text"), oob, nil, 0); err != nil {
			t.Fatal(err)
		}
		m.written += 4
	}
	buf := make([]byte, 100)
	for taken := 0; taken < m.written; {
		n, err := c.Peek(buf)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Discard(n); err != nil {
			t.Fatal(err)
		}
		taken += n
		m.check()
	}
}

// TestUrgentBytesOfAUnixSocket: where there are such, peeks and takes agree on them.
func TestUrgentBytesOfAUnixSocket(t *testing.T) {
	c, client, m := newTracked(t, "poll")
	m.urgent = true
	for _, text := range []string{"one", "two", "three"} {
		if _, err := client.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := unix.Send(int(client.Fd()), []byte("!"), unix.MSG_OOB); err != nil {
			t.Skip(err) // the kernel has none
		}
	}
	var got strings.Builder
	buf := make([]byte, 100)
	for range 10 {
		if n, err := c.Peek(buf); err == nil {
			if err := c.Discard(n); err != nil {
				t.Fatal(err)
			}
			got.Write(buf[:n])
		}
	}
	if !strings.HasSuffix(got.String(), "three") || m.offset != got.Len() {
		t.Errorf("got %q and %d bytes taken", got.String(), m.offset)
	}
}

func TestWhatIsSentIsKnown(t *testing.T) {
	c, _, m := newTracked(t, "poll")
	if _, err := c.TryWrite(nil); err != nil || m.sent != 0 {
		t.Errorf("nothing: got %d, %v", m.sent, err)
	}
	if err := c.Write([]byte("hello")); err != nil || m.sent != 1 {
		t.Errorf("got %d, %v, want it noted", m.sent, err)
	}
	if n, err := c.TryWrite([]byte("again")); n != 5 || err != nil || m.sent != 1 {
		t.Errorf("got %d, %v, want it noted once", m.sent, err)
	}
}

// TestATrackedConnectionCostsNoMemory and, where all is taken that was peeked, no call more.
func TestATrackedConnectionCostsNoMemory(t *testing.T) {
	c, client, m := newTracked(t, "poll")
	buf, text := make([]byte, 100), []byte("text\n")
	got := testing.AllocsPerRun(100, func() {
		n, _ := unix.Write(int(client.Fd()), text)
		m.written += n
		_, _ = c.Peek(buf)
		_ = c.Discard(n)
	})
	if got > 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}
