package worker

import (
	"io"
	"os"
	"sync"
	"time"

	"tcpmux/daemon/record"
	"tcpmux/daemon/sink"
)

// remoteSink is the session.Sink of a process: it sends what it is given to the daemon, and waits
// until that says that it is written.
type remoteSink struct {
	out io.Writer

	mu    sync.Mutex
	frame []byte     // the last one, to be used again
	sent  uint64     // frames that are to be answered
	done  uint64     // of these, answered
	last  answer     // the last answer
	news  *sync.Cond // done has changed; its lock is mu
}

// keepFrame is how large a frame may be whose memory is used again.
const keepFrame = 256 << 10

func newRemoteSink(out io.Writer) *remoteSink {
	s := &remoteSink{out: out}
	s.news = sync.NewCond(&s.mu)
	return s
}

// Gather sends the messages at once: they wait for their turn in the channel, and with the daemon,
// whose sink keeps the journal.
func (s *remoteSink) Gather(messages []byte, _ sink.Giver) (sink.Ticket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(messages) == 0 {
		return sink.Ticket(s.sent), nil
	}
	header := frameHeader{frameMessages, uint32(len(messages))}
	return s.sendLocked(append(header.append(s.frame[:0]), messages...))
}

// sendLocked sends a frame that will be answered.
func (s *remoteSink) sendLocked(frame []byte) (sink.Ticket, error) {
	if s.frame = frame; cap(frame) > keepFrame {
		s.frame = nil
	}
	if _, err := s.out.Write(frame); err != nil {
		return 0, os.NewSyscallError("send to the daemon", err)
	}
	s.sent++
	return sink.Ticket(s.sent), nil
}

// checkpoint has the daemon keep a checkpoint and reports whether it does. After an error nobody
// knows: the daemon has gone, or is going.
func (s *remoteSink) checkpoint(c *checkpoint) (ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.sendLocked(c.append(s.frame[:0]))
	if err != nil {
		return false, err
	}
	s.awaitLocked(t)
	return s.last == kept, nil
}

// take has the daemon take from the connection, and reports whether it did.
func (s *remoteSink) take(t *take) (ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ticket, err := s.sendLocked(t.append(s.frame[:0]))
	if err != nil {
		return false, err
	}
	s.awaitLocked(ticket)
	return s.last == kept, nil
}

// Commit waits until the daemon says that the messages are written. It never fails: when the daemon
// ends, so does the process.
func (s *remoteSink) Commit(t sink.Ticket) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaitLocked(t)
	return nil
}

// awaitLocked waits until a frame is answered.
func (s *remoteSink) awaitLocked(t sink.Ticket) {
	for s.done < uint64(t) {
		s.news.Wait()
	}
}

// CommitNow is Commit: what was sent already cannot be hurried.
func (s *remoteSink) CommitNow(t sink.Ticket) error { return s.Commit(t) }

// answered notes the answer to the oldest frame that has none.
func (s *remoteSink) answered(a answer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == s.sent {
		return errProtocol
	}
	s.done++
	s.last = a
	s.news.Broadcast()
	return nil
}

// end tells the daemon how the session has ended.
func (s *remoteSink) end(e *end) error {
	_, err := s.out.Write(e.append(nil))
	return err
}

// encoder is the session.Encoder that goes with a remoteSink: the daemon alone writes records, and
// knows whose they are and when they came.
type encoder struct{ last *lastMessage }

// lastMessage is what is known of the message that was encoded last. The session's goroutine uses
// it.
type lastMessage struct{ cut bool } // it is a piece of a message

// Begin does nothing.
func (encoder) Begin(*record.Source, time.Time) {}

// Message appends what parseMessage reads.
func (e encoder) Message(dst []byte, m *record.Message) []byte {
	e.last.cut = checkpointFollows(false, m.Flag)
	return appendMessage(dst, m)
}

// Open appends nothing.
func (encoder) Open(dst []byte) []byte { return dst }

// Close appends nothing.
func (encoder) Close(dst []byte, _ string, _, _ int64) []byte { return dst }
