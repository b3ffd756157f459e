package tlsconn_test

import (
	"crypto/tls"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/tlsconn"
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

// TestAMessageInUserSpaceCostsLittle: one call finds it, and nothing is allocated but by crypto/tls,
// which does so once for each look at what has arrived.
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
