package worker

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/record"
	"tcpmux/daemon/session"
)

// noted is what a conn.Tracked has told.
type noted struct{ taken, sent int }

func (*noted) Taking(int, int) {}
func (m *noted) Taken(n int)   { m.taken += n }
func (m *noted) SetSent()      { m.sent++ }

// newTracked returns a connection of a unix socket of which it is noted what is taken, and its
// client.
func newTracked(t *testing.T) (client *os.File, c conn.Conn, m *noted) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	client = os.NewFile(uintptr(pair[0]), "client")
	t.Cleanup(func() { _ = client.Close() })
	m = &noted{}
	return client, conn.Track(conn.NewThread(pair[1], new(conn.Wakeup)), m), m
}

// TestTheDaemonTakesForAProcess: what a process of a unix socket takes, and that it has sent
// something, the daemon knows.
func TestTheDaemonTakesForAProcess(t *testing.T) {
	pool := NewPool(nil)
	defer pool.Close()
	client, c, m := newTracked(t)
	f := newFixture(pool, c, nil)
	ended := f.start()
	buf := make([]byte, 100)
	if n, err := client.Read(buf); err != nil || string(buf[:n]) != "hello\r\n" {
		t.Fatalf("heard %q, %v, want the banner", buf[:n], err)
	}
	const text = "one\ntwo\nthe rest"
	if _, err := client.WriteString(text); err != nil {
		t.Fatal(err)
	}
	_ = unix.Shutdown(int(client.Fd()), unix.SHUT_WR)
	<-ended
	if m.taken != len(text) || m.sent == 0 {
		t.Errorf("got %d bytes taken and something sent %d times, want %d and once", m.taken, m.sent, len(text))
	}
	if got := f.out.String(); !strings.Contains(got, ": one\n") || !strings.HasSuffix(got, ": the rest\n") {
		t.Errorf("records: got %q", got)
	}
}

// TestATakeThatIsNotAllowed: of other connections, or more than has come.
func TestATakeThatIsNotAllowed(t *testing.T) {
	for _, c := range []struct {
		name    string
		tracked bool
		want    session.Reason
	}{
		{"of TCP", false, session.ByProcess},
		{"of what has not come", true, session.ByEOF}, // the process is told, and decides
	} {
		t.Run(c.name, func(t *testing.T) {
			one := record.Message{Raw: []byte("one\n"), EndLen: 1, Flag: "eof"}
			frames := append((&take{5}).append(nil), messages(one)...)
			pool := poolOfFrames(t, append(frames, ending(session.ByEOF, 4)...))
			f := newFixture(pool, newFakeConn(t), func(cfg *session.Config) {
				if c.tracked {
					_, cfg.Conn, _ = newTracked(t)
				}
			})
			service, err := pool.Service(f.Session)
			if err != nil {
				t.Fatal(err)
			}
			if why, err := service.Serve(); why != c.want {
				t.Errorf("got %q, %v, want %q", why, err, c.want)
			}
		})
	}
}
