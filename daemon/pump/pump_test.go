package pump

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn/conntest"
)

// fixture is a pump between a client and a pair of sockets in memory: what is sent on pair, its
// other end sends.
type fixture struct {
	*Pump
	client, pair *conntest.Conn
	over         bool
	settled      atomic.Int64 // calls
}

// inMemory runs a test in a bubble of its own. The pump has ended when it returns.
func inMemory(t *testing.T, writeOnly bool, test func(t *testing.T, f *fixture)) {
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{client: conntest.New(), pair: conntest.New()}
		f.Pump = start(f.client, f.pair, Options{
			WriteOnly: writeOnly,
			Over:      func() bool { return f.over },
			Settled:   func() { f.settled.Add(1) },
		})
		test(t, f)
		if !f.pair.Closed() {
			f.End(0)
		}
		synctest.Wait()
		if f.client.Closed() {
			t.Error("the client's connection was closed, which is the session's")
		}
	})
}

// holds checks what has come so far at either end, and whether it was told of an end.
func (f *fixture) holds(t *testing.T, atPair string, pairEnd bool, atClient string, clientEnd bool) {
	t.Helper()
	synctest.Wait()
	if got, end := f.pair.Received(), f.pair.WriteClosed(); got != atPair || end != pairEnd {
		t.Errorf("pair: got %.80q, end %v, want %.80q, %v", got, end, atPair, pairEnd)
	}
	if got, end := f.client.Received(), f.client.WriteClosed(); got != atClient || end != clientEnd {
		t.Errorf("client: got %.80q, end %v, want %.80q, %v", got, end, atClient, clientEnd)
	}
	if in, out := f.Bytes(); in != int64(len(atPair)) || out != int64(len(atClient)) {
		t.Errorf("got %d and %d bytes, want %d and %d", in, out, len(atPair), len(atClient))
	}
}

func TestBothDirectionsAreCarried(t *testing.T) {
	inMemory(t, false, func(t *testing.T, f *fixture) {
		long := strings.Repeat("0123456789", chunkSize)
		f.client.Send(long)
		f.pair.Send("answer")
		f.holds(t, long, false, "answer", false)
		f.client.SendEnd()
		f.holds(t, long, true, "answer", false)
		if !f.Settled() || f.settled.Load() != 1 {
			t.Errorf("got %v, and %d calls, want true, and 1", f.Settled(), f.settled.Load())
		}
		f.pair.Send(", and more")
		f.pair.SendEnd()
		f.holds(t, long, true, "answer, and more", true)
		if read, write := f.Err(); read != nil || write != nil {
			t.Error(read, write)
		}
	})
}

// TestTheEndOfTheAnswer does not end what the client sends.
func TestTheEndOfTheAnswer(t *testing.T) {
	inMemory(t, false, func(t *testing.T, f *fixture) {
		f.pair.SendEnd()
		f.holds(t, "", false, "", true)
		f.client.Send("still")
		f.holds(t, "still", false, "", true)
	})
}

// TestWhatHasNoRoomStaysWhereItIs: it is not taken from the client's connection, and no buffer is
// held meanwhile.
func TestWhatHasNoRoomStaysWhereItIs(t *testing.T) {
	inMemory(t, false, func(t *testing.T, f *fixture) {
		f.pair.SetRoom(10)
		f.client.Send(strings.Repeat("a", 2*chunkSize))
		synctest.Wait()
		if got := f.client.Unread(); got != 2*chunkSize && got != 2*chunkSize-10 {
			t.Errorf("got %d bytes that were not taken, want all but what there was room for", got)
		}
		if f.in.chunk != nil {
			t.Error("a buffer is held")
		}
		f.client.Send("b")
		for f.pair.Received() != strings.Repeat("a", 2*chunkSize)+"b" {
			before := f.pair.Received()
			f.pair.SetRoom(1000)
			synctest.Wait()
			if len(f.pair.Received()) == len(before) {
				t.Fatalf("got %d bytes, and no more", len(before))
			}
		}
		if n := f.client.Unread(); n != 0 {
			t.Errorf("got %d bytes that were not taken, want none", n)
		}
	})
}

// TestAClientThatDoesNotReadIsWaitedFor, and gets all in the end.
func TestAClientThatDoesNotReadIsWaitedFor(t *testing.T) {
	inMemory(t, false, func(t *testing.T, f *fixture) {
		answer := strings.Repeat("0123456789", chunkSize)
		f.client.SetRoom(5)
		f.pair.Send(answer)
		f.pair.SendEnd()
		synctest.Wait()
		if got := f.client.Received(); got != answer[:5] || f.client.WriteClosed() {
			t.Errorf("got %q, want %q, and no end", got, answer[:5])
		}
		if !f.Settled() || f.settled.Load() != 1 {
			t.Errorf("got %v, and %d calls, want true, and 1", f.Settled(), f.settled.Load())
		}
		f.client.Send("question")
		f.client.SetRoom(1 << 30)
		f.holds(t, "question", false, answer, true)
		if f.Settled() {
			t.Error("settled, though more may come")
		}
	})
}

func TestAnErrorEndsTheStream(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
	}{{"a reset", unix.ECONNRESET}, {"another", errors.New("truncated")}} {
		t.Run(c.name, func(t *testing.T) {
			inMemory(t, false, func(t *testing.T, f *fixture) {
				f.client.Send("last")
				f.client.Break(c.err)
				synctest.Wait()
				f.pair.Send("in vain")
				synctest.Wait()
				if got := f.pair.Received(); got != "last" || !f.pair.WriteClosed() {
					t.Errorf("got %q, end %v, want all that was sent, and the end", got, f.pair.WriteClosed())
				}
				if err, _ := f.Err(); err != c.err {
					t.Errorf("got %v, want %v", err, c.err)
				}
			})
		})
	}
}

// TestTheOtherEndGoes: nothing more is read of the client, and that is no error of its connection.
func TestTheOtherEndGoes(t *testing.T) {
	inMemory(t, false, func(t *testing.T, f *fixture) {
		f.pair.Break(unix.ECONNRESET)
		f.client.Send("in vain")
		synctest.Wait()
		f.client.Send("and more")
		synctest.Wait()
		if read, write := f.Err(); read != nil || write != nil || !f.client.WriteClosed() {
			t.Errorf("got %v, %v, end %v, want no error, and the end", read, write, f.client.WriteClosed())
		}
	})
}

// TestAWakeDoesNotEndIt, unless the session is over: then what has come is carried, the beginning
// of a message among it, and it is no end of the stream.
func TestAWakeDoesNotEndIt(t *testing.T) {
	for name, end := range map[string]func(f *fixture){
		"it is woken": func(f *fixture) { f.client.Wake() },
		"it expires":  func(f *fixture) { f.client.Expire() },
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, false, func(t *testing.T, f *fixture) {
				f.client.Wake()
				f.client.Send("before")
				f.holds(t, "before", false, "", false)
				f.pair.SetRoom(2)
				f.client.Send(" and half")
				synctest.Wait()
				f.over = true
				end(f)
				synctest.Wait()
				if f.Settled() || f.settled.Load() > 0 {
					t.Error("it has ended before all was carried")
				}
				f.pair.SetRoom(1 << 20)
				synctest.Wait()
				if !f.Settled() || f.settled.Load() != 1 {
					t.Errorf("got %v, and %d calls, want true, and 1", f.Settled(), f.settled.Load())
				}
				f.client.Send("too late")
				f.holds(t, "before and half", false, "", false)
				f.pair.Send("answer")
				f.holds(t, "before and half", false, "answer", false)
			})
		})
	}
}

func TestTheClientIsReadByOthers(t *testing.T) {
	inMemory(t, true, func(t *testing.T, f *fixture) {
		f.client.Send("not for us")
		f.pair.Send("answer")
		f.holds(t, "", true, "answer", false)
		if n := f.client.Unread(); n != len("not for us") {
			t.Errorf("got %d bytes unread, want all", n)
		}
	})
}

// TestEndCarriesWhatWasWritten though somebody may hold the pair still.
func TestEndCarriesWhatWasWritten(t *testing.T) {
	inMemory(t, false, func(t *testing.T, f *fixture) {
		answer := strings.Repeat("0123456789", 2*chunkSize)
		f.client.SetRoom(5)
		f.pair.Send(answer)
		synctest.Wait()
		go func() {
			time.Sleep(time.Second)
			f.client.SetRoom(1 << 30)
		}()
		f.End(time.Minute)
		if got := f.client.Received(); got != answer || !f.client.WriteClosed() {
			t.Errorf("got %d bytes, end %v, want %d and the end", len(got), f.client.WriteClosed(), len(answer))
		}
		if !f.pair.Closed() {
			t.Error("the pair is open")
		}
	})
}

// TestAClientThatTakesNothingHasPatience and no more. What it has room for it gets.
func TestAClientThatTakesNothingHasPatience(t *testing.T) {
	for _, c := range []struct {
		name  string
		hurry func(f *fixture)
		after time.Duration
	}{
		{"it takes its time", func(*fixture) {}, time.Minute},
		{"the session is over before", func(f *fixture) { f.Hurry() }, 0},
		{"the session is over meanwhile", func(f *fixture) { time.AfterFunc(time.Second, f.Hurry) }, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inMemory(t, false, func(t *testing.T, f *fixture) {
				f.client.SetRoom(5)
				f.pair.Send("some")
				synctest.Wait()
				f.pair.Send(" and more than there is room for")
				began := time.Now()
				c.hurry(f)
				f.End(time.Minute)
				if got := time.Since(began); got != c.after {
					t.Errorf("it has taken %v, want %v", got, c.after)
				}
				if got := f.client.Received(); got != "some " {
					t.Errorf("got %q", got)
				}
				if read, write := f.Err(); read != nil || write != nil {
					t.Errorf("got %v, %v, which are no errors of the client's", read, write)
				}
			})
		})
	}
}

// TestEndStopsWhatWaits: the other end has gone, or reads nothing.
func TestEndStopsWhatWaits(t *testing.T) {
	inMemory(t, false, func(t *testing.T, f *fixture) {
		f.pair.SetRoom(0)
		f.client.Send("in vain")
		synctest.Wait()
		f.End(time.Minute)
		if !f.Settled() || f.client.Unread() != len("in vain") {
			t.Errorf("got %v, %d bytes unread", f.Settled(), f.client.Unread())
		}
	})
}
