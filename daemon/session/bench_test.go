package session

import (
	"bytes"
	"fmt"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/framing"
	"tcpmux/daemon/record"
	"tcpmux/daemon/sink"
)

// discard is a sink that takes everything.
type discard struct{}

func (discard) Gather([]byte, sink.Giver) (sink.Ticket, error) { return 0, nil }
func (discard) Commit(sink.Ticket) error                       { return nil }
func (discard) CommitNow(sink.Ticket) error                    { return nil }

// BenchmarkCut is what a session does for a message between the socket and the sink, by framing.
func BenchmarkCut(b *testing.B) {
	delimited := func(all ...string) func(*config.Listener) {
		return func(l *config.Listener) {
			l.Framing = "delimited"
			for _, one := range all {
				l.Delimiter = append(l.Delimiter, config.Text(one))
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*config.Listener)
		end    string
	}{
		{"line", func(*config.Listener) {}, "\n"},
		{"line, CRLF", func(*config.Listener) {}, "\r\n"},
		{"CR", delimited("\r"), "\r"},
		{"CRLF or LF", delimited("\r\n", "\n"), "\r\n"},
		{"CR, LF or CRLF", delimited("\r\n", "\n", "\r"), "\n"},
		{"CR, LF or CRLF, CRLF", delimited("\r\n", "\n", "\r"), "\r\n"},
		{"CR, LF or CRLF, CR", delimited("\r\n", "\n", "\r"), "\r"},
		{"four bytes", delimited("\x00\x01\x02\x03"), "\x00\x01\x02\x03"},
	} {
		for _, size := range []int{32, 128, 512} {
			b.Run(fmt.Sprintf("%s of %d", c.name, size), func(b *testing.B) {
				l := config.Default().Listeners[0]
				c.change(&l)
				env := &Env{
					Spill: NewSpill(), Buffers: NewBuffers(func() Encoder { return record.NewEncoder(record.Text) }),
				}
				settings := NewSettings(l, 0)
				settings.Sink = discard{}
				r := NewRecorder(New(Config{Env: env, Settings: settings, Source: record.Source{Remote: peer.String()}}))
				message := append(bytes.Repeat([]byte("x"), size-len(c.end)), c.end...)
				stream := bytes.Repeat(message, readSize/size)
				b.SetBytes(int64(len(stream)))
				b.ReportAllocs()
				for b.Loop() {
					r.borrow()
					r.buf.n = copy(r.buf.in, stream)
					r.start()
					if n, err := r.cut(framing.EOF); n < len(stream)-1 || err != nil {
						b.Fatalf("got %d bytes, %v, want %d", n, err, len(stream))
					}
					r.letGo()
				}
			})
		}
	}
}
