package session

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/config"
)

// boundsOf returns a change of what ends a listener's sessions.
func boundsOf(b Bounds) func(*config.Listener) {
	return func(l *config.Listener) {
		l.IdleTimeout, l.Limits.MaxSession = b.Idle, b.Session
		l.Limits.MessageTimeout, l.Limits.MaxSessionBytes = b.Message, b.Bytes
	}
}

// sending is a text that a client sends at a moment of its session.
type sending struct {
	at   time.Duration
	text string
}

// TestBoundsAreExact: a session ends when it is due, and not an instant sooner.
func TestBoundsAreExact(t *testing.T) {
	const s = time.Second
	long := strings.Repeat("x", moveSize+1)
	octets := func(l *config.Listener) { l.Framing = "octet-counted" }
	pieces := func(l *config.Listener) { l.MaxMessage = 4 }
	for _, c := range []struct {
		name   string
		bounds Bounds
		change func(*config.Listener)
		sent   []sending
		lasted time.Duration
		want   []string // between open and close
		end    string
	}{
		{"silent from the first", Bounds{Idle: 10 * s}, nil, nil, 10 * s, nil, "idle, 0 records, 0 bytes"},
		{"silent after a message", Bounds{Idle: 10 * s}, nil, []sending{{3 * s, "one\n"}}, 13 * s, []string{": one"}, "idle, 1 records, 4 bytes"},
		{"silent in the middle of one", Bounds{Idle: 10 * s}, nil, []sending{{3 * s, "one\nhalf"}}, 13 * s, []string{": one", "[timeout]: half"}, "idle, 2 records, 8 bytes"},
		{"silent in the middle of a long one", Bounds{Idle: 10 * s}, nil, []sending{{3 * s, long}}, 13 * s, []string{"[timeout]: " + long}, "idle, 1 records, 16385 bytes"},
		{"every byte ends a silence", Bounds{Idle: 10 * s}, nil, []sending{{0, "x"}, {9 * s, "y"}, {18 * s, "z"}}, 28 * s, []string{"[timeout]: xyz"}, "idle, 1 records, 3 bytes"},
		{"every message ends a silence", Bounds{Idle: 10 * s}, nil, []sending{{9 * s, "x\n"}, {18 * s, "y\n"}}, 28 * s, []string{": x", ": y"}, "idle, 2 records, 4 bytes"},
		{"age", Bounds{Session: 60 * s}, nil, []sending{{20 * s, "x\n"}, {59 * s, "y\n"}}, 60 * s, []string{": x", ": y"}, "age, 2 records, 4 bytes"},
		{"age in the middle of a message", Bounds{Session: 60 * s}, nil, []sending{{59 * s, "one\nhalf"}}, 60 * s, []string{": one", "[timeout]: half"}, "age, 2 records, 8 bytes"},
		{"slow", Bounds{Message: 5 * s}, nil, []sending{{7 * s, "one\nhalf"}}, 12 * s, []string{": one", "[timeout]: half"}, "slow, 2 records, 8 bytes"},
		{"slow with a long one", Bounds{Message: 5 * s}, nil, []sending{{7 * s, long}}, 12 * s, []string{"[timeout]: " + long}, "slow, 1 records, 16385 bytes"},
		{"slow byte by byte", Bounds{Idle: 3 * s, Message: 5 * s}, nil, []sending{{0, "v"}, {2 * s, "w"}, {4 * s, "x"}}, 5 * s, []string{"[timeout]: vwx"}, "slow, 1 records, 3 bytes"},
		{"slow with a piece", Bounds{Message: 5 * s}, pieces, []sending{{0, "abcdef"}, {3 * s, "ghijkl"}}, 8 * s, []string{"[cut]: abcd", "[cut]: efgh", "[timeout]: ijkl"}, "slow, 3 records, 12 bytes"},
		{"not slow between messages", Bounds{Idle: 60 * s, Message: 5 * s}, nil, []sending{{0, "on"}, {4 * s, "e\n"}, {34 * s, "tw"}, {38 * s, "o\n"}}, 98 * s, []string{": one", ": two"}, "idle, 2 records, 8 bytes"},
		{"not slow behind a line end that is no message's", Bounds{Idle: 20 * s, Message: 5 * s}, octets, []sending{{0, "1 a\n"}}, 20 * s, []string{": a"}, "idle, 1 records, 4 bytes"},
		{"the first of all bounds: idle", Bounds{Idle: 4 * s, Session: 60 * s, Message: 5 * s}, nil, []sending{{1 * s, "x"}}, 5 * s, []string{"[timeout]: x"}, "idle, 1 records, 1 bytes"},
		{"the first of all bounds: age", Bounds{Idle: 10 * s, Session: 5 * s, Message: 5 * s}, nil, []sending{{1 * s, "x"}}, 5 * s, []string{"[timeout]: x"}, "age, 1 records, 1 bytes"},
		{"the first of all bounds: slow", Bounds{Idle: 10 * s, Session: 60 * s, Message: 5 * s}, nil, []sending{{1 * s, "x"}}, 6 * s, []string{"[timeout]: x"}, "slow, 1 records, 1 bytes"},
		{"volume at a message's end", Bounds{Bytes: 4}, nil, []sending{{s, "one\ntwo\n"}}, s, []string{": one"}, "volume, 1 records, 4 bytes"},
		{"volume in the middle of a message", Bounds{Bytes: 6}, nil, []sending{{s, "one\ntwo\n"}}, s, []string{": one", "[timeout]: tw"}, "volume, 2 records, 6 bytes"},
		{"volume in several parts", Bounds{Bytes: 6}, nil, []sending{{s, "one\n"}, {2 * s, "t"}, {3 * s, "wo\n"}}, 3 * s, []string{": one", "[timeout]: tw"}, "volume, 2 records, 6 bytes"},
		{"volume of a long message", Bounds{Bytes: moveSize}, nil, []sending{{s, long}}, s, []string{"[timeout]: " + long[1:]}, "volume, 1 records, 16384 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, c.change, func(f *fixture) {
				f.bounds.Store(&c.bounds)
				f.start()
				for _, sent := range c.sent {
					f.pass(sent.at - time.Since(f.opened))
					f.send(sent.text)
				}
				if left := c.lasted - time.Since(f.opened); left > 0 {
					f.pass(left - time.Nanosecond)
					f.served()
					f.pass(time.Nanosecond)
				}
				f.over(c.lasted)
				f.recorded(append(append([]string{"open"}, c.want...), "close: "+c.end)...)
			})
		})
	}
}

func TestWithoutBoundsNothingEnds(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		f.bounds.Store(&Bounds{})
		f.start()
		f.send("one\nhalf")
		f.pass(10_000 * time.Hour)
		f.served()
		f.send(" a line\n")
		f.recorded("open", ": one", ": half a line")
	})
}

// TestTheSinksTimeIsNotTheClients: while it had the session wait, neither silence nor slowness was
// the client's.
func TestTheSinksTimeIsNotTheClients(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name   string
		bounds Bounds
		sent   string // what is then waited for
		more   string // and what comes meanwhile
		closes bool
		lasted time.Duration // the sink is held up for 30 s
		want   []string
	}{
		{"silent", Bounds{Idle: 10 * s}, "one\n", "", false, 40 * s, []string{": one", "close: idle, 1 records, 4 bytes"}},
		{"silent, and more had come", Bounds{Idle: 10 * s}, "one\n", "two\nthree\n", false, 40 * s, []string{": one", ": two", ": three", "close: idle, 3 records, 14 bytes"}},
		{"silent, and it had closed", Bounds{Idle: 10 * s}, "one\n", "", true, 30 * s, []string{": one", "close: eof, 1 records, 4 bytes"}},
		{"silent, and it had closed behind half a message", Bounds{Idle: 10 * s}, "one\n", "half", true, 30 * s, []string{": one", "[eof]: half", "close: eof, 2 records, 8 bytes"}},
		{"slow, and the end had come", Bounds{Idle: 60 * s, Message: 5 * s}, "one\nhalf", " a line\n", false, 90 * s, []string{": one", ": half a line", "close: idle, 2 records, 16 bytes"}},
		{"slow, and the end comes late", Bounds{Message: 5 * s}, "one\nhalf", "", false, 35 * s, []string{": one", "[timeout]: half", "close: slow, 2 records, 8 bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, nil, func(f *fixture) {
				f.bounds.Store(&c.bounds)
				f.start()
				f.sink.hold()
				f.send(c.sent, c.more)
				if c.closes {
					f.sendEnd()
				}
				f.pass(30 * s)
				f.served()
				f.sink.resume()
				synctest.Wait()
				if left := c.lasted - time.Since(f.opened); left > 0 {
					f.pass(left - time.Nanosecond)
					f.served()
					f.pass(time.Nanosecond)
				}
				f.over(c.lasted)
				f.recorded(append([]string{"open"}, c.want...)...)
			})
		})
	}
}

// TestWhoConnectsWhileTheSinkFailsIsNotIdle: its silence begins when its opening is recorded.
func TestWhoConnectsWhileTheSinkFailsIsNotIdle(t *testing.T) {
	for _, closes := range []bool{true, false} {
		bubble(t, boundsOf(Bounds{Idle: 10 * time.Second}), func(f *fixture) {
			f.sink.hold()
			f.start()
			if closes {
				f.sendEnd()
			}
			f.pass(30 * time.Second)
			f.served()
			f.sink.resume()
			synctest.Wait()
			if closes {
				f.over(30 * time.Second)
				f.recorded("open", "close: eof, 0 records, 0 bytes")
				return
			}
			f.pass(10 * time.Second)
			f.over(40 * time.Second)
			f.recorded("open", "close: idle, 0 records, 0 bytes")
		})
	}
}

// TestTheLastInstantCounts: what has come when the time of a message is over may be its end.
func TestTheLastInstantCounts(t *testing.T) {
	for _, c := range []struct {
		name, end, want string
		why             Reason
	}{
		{"the end", " a line\n", ": half a line", ""},
		{"no end", " a line", "[timeout]: half a line", BySlow},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, boundsOf(Bounds{Message: time.Hour}), func(f *fixture) {
				f.client.Send("half" + c.end)
				r := NewRecorder(New(f.config))
				r.heard, r.begun, r.waiting = instantOf(time.Now()), instantOf(longAgo), len("half")
				if why := r.woken(); why != c.why {
					t.Errorf("reason: got %q, want %q", why, c.why)
				}
				f.recorded(c.want)
			})
		})
	}
}

// TestBoundsChangeUnderASession, as by a reload: they are measured from where they always were.
func TestBoundsChangeUnderASession(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name         string
		before, then Bounds
		lasted       time.Duration // half a message comes at 1 s, the change at 3 s
		end          string
	}{
		{"idle comes", Bounds{}, Bounds{Idle: 5 * s}, 6 * s, "idle, 1 records, 4 bytes"},
		{"idle is over already", Bounds{}, Bounds{Idle: s}, 3 * s, "idle, 1 records, 4 bytes"},
		{"idle is longer", Bounds{Idle: 5 * s}, Bounds{Idle: 50 * s}, 51 * s, "idle, 1 records, 4 bytes"},
		{"age comes", Bounds{}, Bounds{Session: 5 * s}, 5 * s, "age, 1 records, 4 bytes"},
		{"age takes the place of idle", Bounds{Idle: 5 * s}, Bounds{Session: 50 * s}, 50 * s, "age, 1 records, 4 bytes"},
		{"slow comes", Bounds{}, Bounds{Message: 5 * s}, 6 * s, "slow, 1 records, 4 bytes"},
		{"volume comes", Bounds{}, Bounds{Bytes: 4}, 3 * s, "volume, 1 records, 4 bytes"},
		{"volume was exceeded", Bounds{}, Bounds{Bytes: 1}, 3 * s, "volume, 1 records, 1 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, nil, func(f *fixture) {
				f.bounds.Store(&c.before)
				f.start()
				f.pass(s)
				f.send("half")
				f.pass(2 * s)
				f.bounds.Store(&c.then)
				f.Refresh()
				synctest.Wait()
				if left := c.lasted - time.Since(f.opened); left > 0 {
					f.pass(left - time.Nanosecond)
					f.served()
					f.pass(time.Nanosecond)
				}
				f.over(c.lasted)
				if got := f.records(); got[len(got)-1] != "close: "+c.end {
					t.Errorf("got %q, want %q", got, c.end)
				}
			})
		})
	}
}
