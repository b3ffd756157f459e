package session

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/framing"
	"tcpmux/daemon/record"
)

// TestBytesStayInTheSocketUntilTheyAreWritten, and half a message until its end is.
func TestBytesStayInTheSocketUntilTheyAreWritten(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		f.start()
		f.sink.hold()
		f.send("one\ntwo\nhalf")
		f.unread(len("one\ntwo\nhalf"))
		f.recorded("open")
		f.sink.resume()
		synctest.Wait()
		f.recorded("open", ": one", ": two")
		f.unread(len("half"))
		if got, want := f.client.LowWater(), len("half")+1; got != want {
			t.Errorf("low water: got %d, want %d", got, want)
		}
		f.send(" a line\n")
		f.recorded("open", ": one", ": two", ": half a line")
		f.unread(0)
		if got := f.client.LowWater(); got != 1 {
			t.Errorf("low water: got %d, want 1", got)
		}
	})
}

// TestALongMessageDoesNotWaitInTheSocket: it could not hold it.
func TestALongMessageDoesNotWaitInTheSocket(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		f.start()
		long := strings.Repeat("x", moveSize+1)
		f.send(long)
		f.unread(0)
		if got := f.env.Spill.Used(); got < int64(len(long)) {
			t.Errorf("memory: got %d bytes, want %d or more", got, len(long))
		}
		f.send(long + "\nhalf")
		f.recorded("open", ": "+long+long)
		f.unread(len("half"))
		if got := f.env.Spill.Used(); got != 0 {
			t.Errorf("memory: got %d bytes, want none", got)
		}
	})
}

// TestALookEndsAtAnUrgentByte, and would show half a message for ever.
func TestALookEndsAtAnUrgentByte(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		f.start()
		f.send("half")
		f.client.SendUrgent('!')
		f.send(" a line\nrest")
		f.sendEnd()
		f.over(0)
		f.recorded("open", ": half! a line", "[eof]: rest", "close: eof, 2 records, 17 bytes")
	})
}

// TestAFlagsWordsAreOne: what the framing calls no message is what records do not count.
func TestAFlagsWordsAreOne(t *testing.T) {
	if got := framing.Between.String(); got != record.Between {
		t.Errorf("got %q, want %q", got, record.Between)
	}
}

// noting is an encoder that keeps the messages, and makes a line of each.
type noting struct {
	*record.Encoder
	messages *[]record.Message
}

func (n noting) Message(dst []byte, m *record.Message) []byte {
	copied := *m
	copied.Raw = []byte(string(m.Raw))
	*n.messages = append(*n.messages, copied)
	return append(dst, '\n')
}

// TestEverySegmentationGivesBackTheStream: whatever the framing, the segments and the delays, each
// byte is in one message, in order, and until then in the socket or in memory. TRIALS=1000 makes it
// that many streams of each framing.
func TestEverySegmentationGivesBackTheStream(t *testing.T) {
	trials, err := strconv.ParseUint(cmp.Or(os.Getenv("TRIALS"), "20"), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"line", "nul", "chunk", "octet-counted", "length-prefixed", "delimited", "fixed", "silence"} {
		for seed := range trials {
			t.Run(fmt.Sprintf("%s %d", kind, seed), func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				bubble(t, func(l *config.Listener) {
					l.Framing, l.MaxMessage = kind, int64(1+rnd.IntN(100))
					l.LengthSize = 2
					l.Delimiter, l.MessageSize = []config.Bytes{config.Text("\r\n"), config.Text("\n"), config.Text("end of message")}, 1+rnd.IntN(200)
					if rnd.IntN(2) == 0 {
						l.Start = config.Text("begin")
					}
				}, func(f *fixture) { segmented(f, rnd, kind) })
			})
		}
	}
}

// segmented sends a stream in random segments and compares what becomes of it.
func segmented(f *fixture, rnd *rand.Rand, kind string) {
	var messages []record.Message
	f.env.Buffers = NewBuffers(func() Encoder { return noting{record.NewEncoder(record.Text), &messages} })
	f.env.Spill.Resize(int64(rnd.IntN(2 * moveSize)))
	f.start()
	stream := randomStream(rnd, kind)
	sent := 0
	for sent < len(stream) {
		n := min(1+rnd.IntN([]int{3, 100, 3 * moveSize}[rnd.IntN(3)]), len(stream)-sent)
		switch rnd.IntN(8) {
		case 0:
			f.sink.hold()
		case 1:
			f.client.SendUrgent(stream[sent])
			sent, n = sent+1, n-1
		}
		f.client.Send(stream[sent : sent+n])
		sent += n
		if kind == "silence" && rnd.IntN(4) == 0 {
			time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
		}
		if rnd.IntN(2) == 0 {
			synctest.Wait()
			held := len(f.service.(*Recorder).moved)
			if got := int(f.Offset()) + held + f.client.Unread(); !f.sink.isHeld() && got != sent {
				f.t.Fatalf("recorded, in memory and in the socket: got %d bytes, want %d", got, sent)
			}
		}
		f.sink.resume()
	}
	f.sendEnd()
	f.over(time.Since(f.opened))
	var got strings.Builder
	for _, m := range messages {
		if m.Offset != int64(got.Len()) {
			f.t.Fatalf("offset: got %d, want %d", m.Offset, got.Len())
		}
		got.Write(m.Raw)
	}
	if got.String() != stream {
		f.t.Errorf("got %.200q, want %.200q", got.String(), stream)
	}
}

// randomStream returns messages of a framing.
func randomStream(rnd *rand.Rand, kind string) string {
	var b strings.Builder
	for range rnd.IntN(20) {
		n := rnd.IntN([]int{10, 200, 3 * moveSize}[rnd.IntN(3)])
		text := strings.Repeat(string(rune('a'+rnd.IntN(26))), n)
		switch kind {
		case "line", "chunk", "fixed", "silence":
			b.WriteString(text + []string{"\n", "\r\n"}[rnd.IntN(2)])
		case "delimited":
			b.WriteString([]string{"begin", ""}[rnd.IntN(2)] + text + []string{"\n", "\r\n", "end of message"}[rnd.IntN(3)])
		case "nul":
			b.WriteString(text + "\x00")
		case "octet-counted":
			fmt.Fprintf(&b, "%d %s", n+1, text+"x")
		case "length-prefixed":
			fmt.Fprintf(&b, "%c%c%s", 0, n%100, text[:n%100])
		}
	}
	return b.String() + strings.Repeat("y", rnd.IntN(5))
}

// TestOutputGoesToTheSinkInBatches, so that a peek that becomes much output does not need it whole.
func TestOutputGoesToTheSinkInBatches(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		calls := 0
		f.sink.before = func() { calls++ }
		f.start()
		calls = 0
		f.send(strings.Repeat("\n", readSize)) // each becomes more than 40 bytes
		if calls < readSize*40/BatchSize {
			t.Errorf("got %d calls of the sink, want one for each %d bytes", calls, BatchSize)
		}
		if got := f.Records(); got != readSize {
			t.Errorf("records: got %d, want %d", got, readSize)
		}
	})
}

// TestABufferIsGivenBackBeforeTheSinkIsWaitedFor: clients that wait for it hold none.
func TestABufferIsGivenBackBeforeTheSinkIsWaitedFor(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		f.start()
		f.sink.hold()
		f.send("one\nhalf")
		if got := len(f.env.Buffers.places); got != maxBuffers {
			t.Errorf("buffers that may be lent: got %d, want all %d", got, maxBuffers)
		}
	})
}
