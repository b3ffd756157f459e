package worker

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn/conntest"
	"tcpmux/daemon/framing"
	"tcpmux/daemon/session"
)

// fakeDaemon is the daemon of a session process: it answers all frames, and looks at the connection
// in the moment of a checkpoint.
type fakeDaemon struct {
	sink *remoteSink
	conn *conntest.Conn
	seen []moment
}

// moment is what a fakeDaemon sees: how many bytes are in the socket, and how many were sent to the
// client.
type moment struct{ inSocket, sent int }

func (d *fakeDaemon) Write(b []byte) (int, error) {
	switch parseFrameHeader(b).Kind {
	case frameCheckpoint:
		d.seen = append(d.seen, moment{d.conn.Unread(), len(d.conn.Received())})
		go d.sink.answered(kept) // who writes holds the lock
	case frameMessages:
		go d.sink.answered(written)
	}
	return len(b), nil
}

// serveTo has a process that writes to out serve a connection.
func serveTo(out io.Writer, c *conntest.Conn, s *setup) (*childServer, *session.Recorder) {
	k := newChildServer(&channel{})
	k.sink.out = out
	s.Checkpoints = true
	k.session = k.newSession(s, c)
	return k, session.NewRecorder(k.session)
}

// setupWith is a setup with a framing.
func setupWith(kind framing.Kind) *setup {
	return &setup{setupHeader: setupHeader{Framing: spec{Kind: kind, LengthSize: 4, Max: 64 << 10}}}
}

// beginning is the beginning of a message that is too long to wait in the kernel for its end.
var beginning = strings.Repeat("x", 32<<10)

// TestBytesLeaveTheSocketLast: before that, what they have become is written, the client is told,
// and how far the session has come is kept. A process that dies in between leaves them to the next.
func TestBytesLeaveTheSocketLast(t *testing.T) {
	const ack = "{offset}\n"
	for _, c := range []struct {
		name, ack, say string
		want           moment
		left           int // in the socket, in the end
	}{
		{"the beginning of a message", "", beginning, moment{len(beginning), 0}, 0},
		{"a message and the beginning of one", "", "one\n" + beginning, moment{4 + len(beginning), 0}, 0},
		{"a message that is acknowledged", ack, "one\nhalf", moment{8, 2}, 4},
		{"two that are acknowledged, and the beginning of one", ack, "one\ntwo\n" + beginning, moment{8 + len(beginning), 4}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := conntest.New()
				client.Send(c.say)
				d := &fakeDaemon{conn: client}
				s := setupWith(framing.Line)
				s.ack = c.ack
				k, recorder := serveTo(d, client, s)
				d.sink = k.sink
				over := make(chan struct{})
				go func() {
					defer close(over)
					_, _ = recorder.Serve() // how it ends does not matter
				}()
				synctest.Wait()
				if got := client.Unread(); got != c.left {
					t.Errorf("in the socket: got %d bytes, want %d", got, c.left)
				}
				k.session.Enter(session.Leaving)
				recorder.Changed()
				<-over
				if len(d.seen) == 0 || d.seen[0] != c.want {
					t.Errorf("at the checkpoints: got %+v, want %+v first", d.seen, c.want)
				}
			})
		})
	}
}

// TestACheckpointFollowsWhereTheMessagesDoNotTellHowFarTheSessionIs, and nowhere else: it costs a
// round trip.
func TestACheckpointFollowsWhereTheMessagesDoNotTellHowFarTheSessionIs(t *testing.T) {
	whatever := spec{Kind: framing.Delimited, Max: 8, Delimiters: [framing.MaxDelimiters]sequence{sequenceOf("\r\n"), sequenceOf("\n"), sequenceOf("\r")}}
	for _, c := range []struct {
		name, ack, say string
		framing        spec
		want           int
	}{
		{"whole lines", "", "one\n", spec{Max: 8}, 0},
		{"acknowledged lines", "ok\n", "one\n", spec{Max: 8}, 1},
		{"a piece", "", "123456789", spec{Max: 8}, 1},
		{"a delimiter that may go on, as the message tells", "", "one\r", whatever, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := conntest.New()
				client.Send(c.say)
				d := &fakeDaemon{conn: client}
				s := &setup{setupHeader: setupHeader{Framing: c.framing}, ack: c.ack}
				k, recorder := serveTo(d, client, s)
				d.sink = k.sink
				over := make(chan struct{})
				go func() {
					defer close(over)
					_, _ = recorder.Serve() // how it ends does not matter
				}()
				synctest.Wait()
				if got := len(d.seen); got != c.want {
					t.Errorf("checkpoints: got %d, want %d", got, c.want)
				}
				k.session.Enter(session.Leaving)
				recorder.Changed()
				<-over
			})
		})
	}
}

// noDaemon is the channel of a process whose daemon has gone.
type noDaemon struct{}

func (noDaemon) Write([]byte) (int, error) { return 0, unix.EPIPE }
