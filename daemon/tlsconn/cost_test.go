package tlsconn_test

import (
	"crypto/tls"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/tlsconn"
	"tcpmux/daemon/tlsconn/tlstest"
)

// countedTakes counts the calls of Take that reach a socket.
type countedTakes struct {
	conn.Conn
	n int
}

func (c *countedTakes) Take(buf []byte) (int, error) {
	c.n++
	return c.Conn.Take(buf)
}

// TestAMessageInUserSpaceCostsLittle: one call finds it, and nothing is allocated but by
// crypto/tls, which does so once for each look at what has arrived.
func TestAMessageInUserSpaceCostsLittle(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			p := newPeer(t)
			below := &countedTakes{Conn: p.Conn.Conn}
			p.Conn = tlsconn.New(below)
			client, _, err := p.handshake(&tls.Config{MaxVersion: version})
			if err != nil {
				t.Fatal(err)
			}
			line, buf := []byte("a line\n"), make([]byte, 16<<10)
			var found, looks int
			arrived := func() bool { return below.Unread() > 0 }
			p.SetReadDeadline(time.Now().Add(patience))
			message := func() {
				if _, err := client.Write(line); err != nil {
					t.Error(err)
				}
				if err := below.Wait(arrived); err != nil {
					t.Error(err)
				}
				below.n = 0
				n, err := p.Peek(buf)
				if found += below.n; n != len(line) || err != nil {
					t.Errorf("peek: got %d and %v, want the line", n, err)
				}
				if err := p.Discard(n); err != nil {
					t.Error(err)
				}
				if n, err = p.Peek(buf); n >= 0 || err != unix.EAGAIN {
					t.Errorf("peek behind it: got %d and %v, want %v", n, err, unix.EAGAIN)
				}
				if n, err = p.TryWrite(line); n != len(line) || err != nil {
					t.Errorf("write: got %d and %v, want all", n, err)
				}
				looks++
			}
			allocs := testing.AllocsPerRun(100, message)
			if found != looks {
				t.Errorf("%d messages: got %d calls of Take that looked for them, want one each", looks, found)
			}
			const most = 3 // one in each tls.Conn.Read: of the record, behind it, and where it is looked for again
			if allocs > most && !underRace {
				t.Errorf("a message: got %v allocations, want at most %d", allocs, most)
			}
			t.Logf("%v allocations", allocs)
		})
	}
}

// lands implements tlsconn.Memory without keeping anything.
type lands struct{ landing [1]byte }

func (*lands) Begin(tlsconn.Secured) bool { return true }
func (*lands) Establish()                 {}
func (l *lands) Taking(_ int, last byte) *byte {
	l.landing[0] = ^last
	return &l.landing[0]
}
func (*lands) Taken()            {}
func (*lands) Rekey(_, _ []byte) {}

// TestAMessageByTheKernelAllocatesNothing, with the kernel's part left out: the socket has no keys,
// and so shows what the client has written.
func TestAMessageByTheKernelAllocatesNothing(t *testing.T) {
	if underRace {
		t.Skip("sync.Pool drops at random what it is given")
	}
	for name, memory := range map[string]tlsconn.Memory{"kept": new(lands), "not kept": nil} {
		t.Run(name, func(t *testing.T) {
			client, fd := tlstest.Pair(t)
			below, err := conn.NewPoll(fd)
			if err != nil {
				t.Fatal(err)
			}
			c := tlsconn.Resume(below, tlsconn.Left{Memory: memory})
			t.Cleanup(c.Close)
			line, buf := []byte("a line\n"), make([]byte, 16<<10)
			var n int
			arrived := func() bool {
				n, err = c.Peek(buf)
				return err != unix.EAGAIN
			}
			await := func() {
				if _, err := client.Write(line); err != nil {
					t.Error(err)
				}
				if werr := c.Wait(arrived); werr != nil || err != nil || n != len(line) {
					t.Errorf("peek: got %d, %v and %v, want the line", n, err, werr)
				}
			}
			c.SetReadDeadline(time.Now().Add(patience))
			allocs := testing.AllocsPerRun(100, func() {
				await()
				if err := c.Discard(n); err != nil {
					t.Error(err)
				}
				await()
				if n, err := c.Take(buf); n != len(line) || err != nil {
					t.Errorf("take: got %d and %v, want the line", n, err)
				}
				if n, err := c.Peek(buf); n >= 0 || err != unix.EAGAIN {
					t.Errorf("peek behind it: got %d and %v, want %v", n, err, unix.EAGAIN)
				}
				if n, err := c.TryWrite(line); n != len(line) || err != nil {
					t.Errorf("write: got %d and %v, want all", n, err)
				}
			})
			if allocs > 0 {
				t.Errorf("a message that is discarded, and one that is taken: got %v allocations, want none", allocs)
			}
		})
	}
}
