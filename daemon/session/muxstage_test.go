package session

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/conn"
	"tcpmux/internal/fuzzing"
)

// muxed runs a test with a fixture whose connection is to a mux of the listeners "a" and
// "Scan-2.b", which greet with their names. What they have is in moves.
func muxed(t *testing.T, test func(f *fixture, moves *[]string)) {
	t.Helper()
	bubble(t, func(l *config.Listener) {
		l.Name, l.Service, l.Record, l.Mux = "front", config.ServiceMux, false, []string{"a", "Scan-2.b"}
	}, func(f *fixture) {
		f.config.Source.Listener = "front"
		f.config.Settings.Stages = []Stage{&MuxStage{}}
		moves := new([]string)
		f.env.Move = func(s, next *Session, listener string, size int) (bool, string) {
			*moves = append(*moves, fmt.Sprintf("%s %d", listener, size))
			s.Continue(next, func(c *Config) { f.choose(c, listener) })
			return true, ""
		}
		test(f, moves)
	})
}

// choose sets what a session of a mux's listener begins with.
func (f *fixture) choose(c *Config, listener string) {
	l := config.Default().Listeners[0]
	l.Name, l.Banner = listener, config.Text("hello {listener}\n")
	c.Settings, c.Bounds, c.Past = NewSettings(l, 0), &f.bounds, &Past{Reply: MuxReply}
	c.Settings.Sink = f.sink
	c.Source.Listener, c.Source.Mux = listener, "front"
}

// TestAClientNamesItsListener holds RFC 1078 but for refusals: any segmentation, either line end,
// any case, and what stands behind the name is the listener's, byte for byte.
func TestAClientNamesItsListener(t *testing.T) {
	for _, line := range []string{"a\r\n", "a\n", "A\r\n", "scan-2.B\r\n", "SCAN-2.b\n"} {
		for _, behind := range []string{"", "one\nhalf", "\n\r\n", "a\r\nSTART\n", "\x00\xff\r\n"} {
			all := line + behind
			for _, sent := range [][]string{
				{all}, {line, behind}, strings.SplitAfter(all, ""), {all[:1], all[1:]}, {line[:len(line)-1], line[len(line)-1:] + behind},
			} {
				muxed(t, func(f *fixture, moves *[]string) {
					f.start()
					f.send(sent...)
					want := "a"
					if len(line) > 4 {
						want = "Scan-2.b"
					}
					if got := fmt.Sprint(*moves); got != fmt.Sprintf("[%s %d]", want, len(line)) {
						t.Fatalf("%q: got %s, want %s with %d bytes", sent, got, want, len(line))
					}
					f.received("+Go\r\nhello "+want+"\n", false)
					f.unread(len(behind) - strings.LastIndex(behind, "\n") - 1)
					f.sendEnd()
					f.over(0)
					if got := f.records(); got[0] != "open via mux front" || len(got) < 2+strings.Count(behind, "\n") {
						t.Errorf("%q: records: got %q", sent, got)
					}
				})
			}
		}
	}
}

// peeksInPieces is a connection whose peeks end behind the first byte, as where descriptors were
// sent along.
type peeksInPieces struct{ conn.Conn }

func (p peeksInPieces) Peek(buf []byte) (int, error) { return p.Conn.Peek(buf[:1]) }

func (p peeksInPieces) PeekOn(buf []byte, _ int) int {
	n, _ := p.Conn.Peek(buf) // there is a byte
	return n
}

// TestAPeekThatEndsEarlyHidesNoName, nor a PROXY header.
func TestAPeekThatEndsEarlyHidesNoName(t *testing.T) {
	muxed(t, func(f *fixture, _ *[]string) {
		f.config.Conn = peeksInPieces{f.client}
		f.start()
		f.send("scan", "-2.b\r\n")
		f.received("+Go\r\nhello Scan-2.b\n", false)
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		peek := headerPeek{conn: peeksInPieces{f.client}, buf: make([]byte, usualHeader)}
		if f.client.Send(header); !peek.try() || peek.header.Size != len(header) {
			t.Errorf("got %+v and %v, want the whole header", peek.header, peek.err)
		}
	})
}

// TestWhoNamesNoListenerIsRefused, told why in one line of printable ASCII, and its end is
// recorded.
func TestWhoNamesNoListenerIsRefused(t *testing.T) {
	long := strings.Repeat("x", 254)
	for _, c := range []struct {
		name, sent, reply, reason string
	}{
		{"unknown", "b\r\nmore\n", `-unknown service "b"`, "mux"},
		{"the beginning of one", "scan\r\n", `-unknown service "scan"`, "mux"},
		{"more than one", "a b\r\n", `-unknown service "a b"`, "mux"},
		{"with a space", "a \r\n", `-unknown service "a "`, "mux"},
		{"a carriage return within", "a\rb\r\n", `-unknown service "a\rb"`, "mux"},
		{"two of them", "a\r\r\n", `-unknown service "a\r"`, "mux"},
		{"empty", "\r\na\r\n", `-no name`, "mux"},
		{"empty, without carriage return", "\n", `-no name`, "mux"},
		{"hostile", "\x1b[2J\xff\u202e\"\n", `-unknown service "\x1b[2J\xff\u202e\""`, "mux"},
		{"not ASCII, though equal without case", "ſcan-2.b\r\n", `-unknown service "\u017fcan-2.b"`, "mux"},
		{"as long as may be", long + "\r\n", `-unknown service "` + long[:64] + `"...`, "mux"},
		{"too long", long + "x\r\n", `-the name is longer than 254 bytes`, "mux"},
		{"endless", strings.Repeat("x", 100_000), `-the name is longer than 254 bytes`, "mux"},
	} {
		t.Run(c.name, func(t *testing.T) {
			muxed(t, func(f *fixture, moves *[]string) {
				f.client.Send(c.sent)
				f.start()
				f.over(0)
				f.received(c.reply+"\r\n", true)
				f.unread(0) // or the close would be a reset
				f.recorded("open", "close: "+c.reason+", 0 records, 0 bytes")
				if l := f.log.String(); !strings.Contains(l, "level=INFO") || !strings.Contains(l, " reason=mux ") || strings.ContainsAny(l, "\x1b\u202e") || strings.Contains(l, "\xff") {
					t.Errorf("log: got %q", l)
				}
				if len(*moves) > 0 {
					t.Errorf("got %q, want no listener", *moves)
				}
			})
		})
	}
}

// TestHelpReturnsTheNames, one a line, and closes.
func TestHelpReturnsTheNames(t *testing.T) {
	for _, sent := range []string{"HELP\r\n", "help\n", "Help\r\nmore"} {
		muxed(t, func(f *fixture, _ *[]string) {
			f.client.Send(sent)
			f.start()
			f.over(0)
			f.received("a\r\nScan-2.b\r\n", true)
			f.unread(0)
			f.recorded("open", "close: help, 0 records, 0 bytes")
		})
	}
}

// TestANameHasItsTime, which no byte and no phase renews.
func TestANameHasItsTime(t *testing.T) {
	for _, sent := range []string{"", "scan"} {
		muxed(t, func(f *fixture, _ *[]string) {
			f.start()
			for _, c := range sent {
				f.pass(time.Second)
				f.send(string(c))
				f.Refresh()
				f.Enter(Draining)
			}
			f.pass(nameTimeout - time.Since(f.opened) - time.Nanosecond)
			f.served()
			f.pass(time.Nanosecond)
			f.over(nameTimeout)
			f.recorded("open", "close: mux, 0 records, 0 bytes")
			if l := f.log.String(); !strings.Contains(l, `err="read the name of a listener: none has come whole within 10s"`) {
				t.Errorf("log: got %q, want why", l)
			}
		})
	}
}

// TestAConnectionEndsWithinTheName: what has come of it is no record.
func TestAConnectionEndsWithinTheName(t *testing.T) {
	for _, c := range []struct {
		name, sent string
		end        error // nil: the end of the stream
		reason     string
	}{
		{"nothing", "", nil, "eof"},
		{"nothing, broken off", "", unix.ECONNRESET, "reset"},
		{"half", "sca", nil, "mux"},
		{"half, broken off", "sca", unix.ECONNRESET, "reset"},
		{"half, and the client has vanished", "sca", unix.ETIMEDOUT, "lost"},
		{"all but the line end", "a", nil, "mux"},
	} {
		t.Run(c.name, func(t *testing.T) {
			muxed(t, func(f *fixture, _ *[]string) {
				f.client.Send(c.sent)
				if c.end == nil {
					f.client.SendEnd()
				} else {
					f.client.Break(c.end)
				}
				f.start()
				f.over(0)
				f.recorded("open", "close: "+c.reason+", 0 records, 0 bytes")
			})
		})
	}
}

// TestTheEndBehindTheNameIsTheListeners.
func TestTheEndBehindTheNameIsTheListeners(t *testing.T) {
	muxed(t, func(f *fixture, _ *[]string) {
		f.client.Send("a\r\none")
		f.client.SendEnd()
		f.start()
		f.over(0)
		f.recorded("open via mux front", "[eof]: one", "close: eof, 1 records, 3 bytes")
	})
}

// TestThePhaseEndsTheWaitForAName: the next process asks, or nobody does.
func TestThePhaseEndsTheWaitForAName(t *testing.T) {
	muxed(t, func(f *fixture, _ *[]string) {
		f.start()
		f.send("sca")
		f.enter(Over)
		f.over(0)
		f.recorded("open", "close: drain, 0 records, 0 bytes")
	})
	muxed(t, func(f *fixture, _ *[]string) {
		f.start()
		f.send("sca")
		f.enter(Leaving)
		f.over(0)
		f.recorded()
		f.unread(3)
	})
}

// TestThePhaseIsThatOfTheNextSession, whenever it changes: also if somebody still has the first
// one.
func TestThePhaseIsThatOfTheNextSession(t *testing.T) {
	change := map[string]func(s *Session){
		"draining": func(s *Session) { s.Enter(Draining) },
		"killed":   func(s *Session) { s.Kill() },
		"over":     func(s *Session) { s.Enter(Over) },
		"hurried":  func(s *Session) { s.Enter(Leaving); s.Hurry() },
	}
	for name, change := range change {
		for _, when := range []string{"before", "within", "after"} {
			t.Run(name+" "+when, func(t *testing.T) {
				muxed(t, func(f *fixture, moves *[]string) {
					move := f.env.Move
					f.env.Move = func(s, next *Session, l string, n int) (bool, string) {
						if when == "before" {
							change(s)
						}
						moved, refusal := move(s, next, l, n)
						if when == "within" {
							change(s)
						}
						return moved, refusal
					}
					f.start()
					f.send("a\r\n")
					first := f.Session
					if when == "after" {
						change(first)
						synctest.Wait()
					}
					next := first.Last()
					if next == first || next.Phase() != first.Phase() || next.Hurried() != first.Hurried() || next.killed() != first.killed() {
						t.Errorf("got %v, hurried %v, killed %v; want that of the first one: %v, %v, %v",
							next.Phase(), next.Hurried(), next.killed(), first.Phase(), first.Hurried(), first.killed())
					}
					if next.Phase() >= Leaving {
						f.over(0)
					}
				})
			})
		}
	}
}

// TestAClientWaitsWhileItsListenerTakesNobody: until the phase changes, and its name stays.
func TestAClientWaitsWhileItsListenerTakesNobody(t *testing.T) {
	muxed(t, func(f *fixture, _ *[]string) {
		asked := 0
		f.env.Move = func(*Session, *Session, string, int) (bool, string) { asked++; return false, "" }
		f.start()
		f.send("a\r\n", "more")
		f.pass(time.Hour)
		f.Refresh()
		f.served()
		f.enter(Leaving)
		f.over(time.Hour)
		f.unread(len("a\r\nmore"))
		f.recorded()
		if asked > 2 {
			t.Errorf("asked %d times", asked)
		}
	})
}

// TestAListenerThatRefuses tells why; nothing is recorded.
func TestAListenerThatRefuses(t *testing.T) {
	muxed(t, func(f *fixture, _ *[]string) {
		f.env.Move = func(*Session, *Session, string, int) (bool, string) { return false, "too many clients" }
		f.client.Send("a\r\nmore")
		f.start()
		f.over(0)
		f.received("-too many clients\r\n", true)
		f.unread(0)
		f.recorded()
	})
}

// TestOnDataAMuxRecordsNoVisit that has come to nothing.
func TestOnDataAMuxRecordsNoVisit(t *testing.T) {
	muxed(t, func(f *fixture, _ *[]string) {
		f.config.Events = config.EventsOnData
		f.client.Send("b\r\n")
		f.start()
		f.over(0)
		f.recorded()
	})
}

// FuzzNames cuts a stream at any place, and compares what becomes of it with RFC 1078.
func FuzzNames(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	for _, seed := range []string{"a\r\none\n", "SCAN-2.B\nx", "help\r\n", "\r\n", "b\n", "a", "", strings.Repeat("x", 300) + "\n"} {
		f.Add([]byte(seed), uint8(0), uint8(1))
		f.Add([]byte(seed), uint8(1), uint8(2))
	}
	f.Fuzz(func(t *testing.T, stream []byte, cut, more uint8) {
		first := min(int(cut), len(stream))
		second := min(first+int(more), len(stream))
		muxed(t, func(f *fixture, moves *[]string) {
			f.start()
			for _, part := range [][]byte{stream[:first], stream[first:second], stream[second:]} {
				f.send(string(part))
			}
			end := bytes.IndexByte(stream, '\n')
			name := ""
			if end >= 0 {
				name = string(bytes.ToLower(bytes.TrimSuffix(stream[:end], []byte("\r"))))
			}
			got := f.client.Received()
			switch {
			case end < 0 && len(stream) < maxName:
				f.served()
			case end >= maxName || end < 0:
				f.over(0)
				if !strings.HasPrefix(got, "-the name is longer") {
					t.Errorf("%q: got %q", stream, got)
				}
			case name == "a" || name == "scan-2.b":
				if !strings.HasPrefix(got, "+Go\r\nhello ") || len(*moves) != 1 {
					t.Errorf("%q: got %q and %q", stream, got, *moves)
				}
				behind := stream[end+1:]
				if n := f.client.Unread(); n > len(behind) || n > 0 && !bytes.HasSuffix(behind, behind[len(behind)-n:]) {
					t.Errorf("%q: %d bytes left", stream, n)
				}
			case name == "help":
				f.over(0)
				if got != "a\r\nScan-2.b\r\n" {
					t.Errorf("%q: got %q", stream, got)
				}
			default:
				f.over(0)
				if err := oneLine(got); err != nil {
					t.Errorf("%q: got %q: %v", stream, got, err)
				}
			}
		})
	})
}

// oneLine reports what keeps a reply from being one that refuses.
func oneLine(reply string) error {
	text, ended := strings.CutSuffix(reply, "\r\n")
	switch {
	case !ended || !strings.HasPrefix(text, "-"):
		return errors.New("it is no refusal")
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }):
		return errors.New("it is not printable")
	}
	return nil
}
