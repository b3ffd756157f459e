package daemon

import (
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/record"
)

// notary is the daemon of a session's process: it answers all, and looks at both ends of the connection in the moment of a note.
type notary struct {
	post         *post
	ours, theirs uintptr // the connection's ends
	seen         []moment
}

// moment is what a notary sees: how many bytes lie in the socket, and how many the client has been sent.
type moment struct{ inSocket, sent int }

func (n *notary) Write(b []byte) (int, error) {
	if b[0] == parcelNote {
		n.seen = append(n.seen, moment{unread(n.ours), unread(n.theirs)})
	}
	if b[0] != parcelEnd {
		go n.post.answered(true) // who writes holds the lock
	}
	return len(b), nil
}

// TestBytesLeaveTheSocketLast: what they have become is written, the client is told, and how far the session has come is noted, before
// that. Whoever dies in between leaves them to the next.
func TestBytesLeaveTheSocketLast(t *testing.T) {
	const ack = "{offset}\n"
	long := strings.Repeat("x", 2*moveSize)
	for _, c := range []struct {
		name, ack, say string
		want           moment
		left           int // in the socket, in the end
	}{
		{"the beginning of a message", "", long, moment{len(long), 0}, 0},
		{"a message and the beginning of one", "", "one\n" + long, moment{4 + len(long), 0}, 0},
		{"a message that is acknowledged", ack, "one\nhalf", moment{8, 2}, 4},
		{"two that are acknowledged, and the beginning of one", ack, "one\ntwo\n" + long, moment{8 + len(long), 4}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, fd := tcpPair(t)
			conn.say(c.say)
			eventually(t, func() bool { return unread(uintptr(fd)) == len(c.say) }, func() { t.Error("the bytes do not arrive") })
			k := newClerk(&orders{})
			n := &notary{post: k.post, ours: uintptr(fd)}
			conn.control(func(fd uintptr) { n.theirs = fd })
			k.post.out, k.server.notes = n, newNotes(k.post, hello{noting: true})
			settings := config.Default().Listeners[0]
			settings.Banner, settings.Ack = config.Bytes{}, config.Text(c.ack)
			k.listener.configure(settings, 0)
			s := beginSession(k.server, k.listener, record.Source{})
			if err := s.setModel(dup(t, fd)); err != nil {
				t.Fatal(err)
			}
			over := make(chan struct{})
			go func() {
				defer close(over)
				_, _ = s.model.serve() // how it ends is no matter
			}()
			eventually(t, func() bool { return unread(uintptr(fd)) == c.left }, func() {
				t.Errorf("in the socket: got %d bytes, want %d", unread(uintptr(fd)), c.left)
			})
			s.leaving.Store(true)
			s.model.handOver()
			<-over
			s.model.close()
			if len(n.seen) == 0 || n.seen[0] != c.want {
				t.Errorf("at the notes: got %+v, want %+v first", n.seen, c.want)
			}
		})
	}
}
