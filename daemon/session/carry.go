package session

import (
	"time"

	"tcpmux/daemon/state"
)

// A session whose service records nothing comes to an offset of its stream in these steps: Carry
// before the bytes are removed from the socket, so that the next process does not take them again.

// Carry removes n bytes of the client's stream from the socket, which its service is done with and
// nobody records. The next process gets memory in Resume.Framing. The session's goroutine calls it.
func (s *Session) Carry(n int, memory int64) error {
	s.offset += int64(n)
	s.Slot.Count(state.Tally{Offset: s.offset, Framing: memory})
	s.shown.offset.Store(s.offset)
	if n == 0 {
		return nil
	}
	s.shown.heard.Store(time.Now().UnixMicro()<<stateBits | s.shown.heard.Load()&(1<<stateBits-1))
	return s.Conn.Discard(n)
}
