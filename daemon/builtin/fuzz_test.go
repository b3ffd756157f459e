package builtin

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/session"
	"tcpmux/internal/fuzzing"
)

// FuzzEcho has a client send and read as steps say: all comes back, in order, whenever the session
// leaves, and what has not come back is still in the socket.
func FuzzEcho(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	f.Add([]byte("hello"), []byte{3, 130, 200})
	f.Add(bytes.Repeat([]byte("0123456789"), 5000), []byte{255, 0, 129, 127, 140, 255, 1, 150})
	f.Fuzz(func(t *testing.T, data, steps []byte) {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, config.ServiceEcho, nil)
			f.client.SetRoom(7)
			left := data
			for _, step := range steps {
				switch n := int(step&0x7f) * 37; {
				case step < 128:
					n = min(n, len(left))
					f.client.Send(string(left[:n]))
					left = left[n:]
				default:
					f.client.SetRoom(n)
				}
				synctest.Wait()
			}
			f.Enter(session.Leaving)
			<-f.ended
			got, sent := f.client.Received(), data[:len(data)-len(left)]
			if !bytes.HasPrefix(sent, []byte(got)) || len(got)+f.client.Unread() != len(sent) || f.Offset() != int64(len(got)) {
				t.Errorf("got %d bytes, %d in the socket and offset %d of %d", len(got), f.client.Unread(), f.Offset(), len(sent))
			}
		})
	})
}

// FuzzChargen has a client read as steps say, and the session leave in between: the pattern goes
// on.
func FuzzChargen(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	f.Add([]byte{0, 1, 255, 128, 74, 73})
	f.Fuzz(func(t *testing.T, steps []byte) {
		synctest.Test(t, func(t *testing.T) {
			var all []byte
			memory := int64(0)
			for _, step := range steps[:min(len(steps), 20)] {
				f := start(t, config.ServiceChargen, func(_ *config.Listener, c *session.Config) {
					c.Resume = &session.Resume{Framing: memory}
				})
				f.client.SetRoom(int(step) * 111)
				time.Sleep(time.Duration(step) * time.Millisecond)
				synctest.Wait()
				f.Enter(session.Leaving)
				<-f.ended
				all = append(all, f.client.Received()...)
				memory = f.service.(reasoned).Service.(*chargen).sent
			}
			if string(all) != chargenText(len(all)) || memory != int64(len(all)) {
				t.Errorf("got %d bytes that are not the pattern, and %d noted", len(all), memory)
			}
		})
	})
}
