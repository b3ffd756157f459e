package session

import (
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/conn"
)

// countedPeeks is a connection that counts how often it is looked at.
type countedPeeks struct {
	conn.Conn
	n int
}

func (c *countedPeeks) Peek(buf []byte) (int, error) {
	c.n++
	return c.Conn.Peek(buf)
}

// TestWhatComesWithTheNameIsLookedAtOnce, as at a listener of its own.
func TestWhatComesWithTheNameIsLookedAtOnce(t *testing.T) {
	visit := func(f *fixture, sent string) (peeks int) {
		c := &countedPeeks{Conn: f.client}
		f.config.Conn = c
		f.client.Send(sent)
		f.start()
		f.sendEnd()
		f.over(0)
		if got := f.records(); len(got) != 3 || !strings.HasSuffix(got[1], ": one") {
			t.Errorf("%q: records: got %q, want one message", sent, got)
		}
		return c.n
	}
	plain, mux := 0, 0
	bubble(t, nil, func(f *fixture) { plain = visit(f, "one\n") })
	muxed(t, func(f *fixture, _ *[]string) { mux = visit(f, "a\r\none\n") })
	if mux != plain {
		t.Errorf("looked %d times, want %d as without a name", mux, plain)
	}
}

// TestAllBehindTheNameIsRecorded, once: also if it is more than what came with the name, or may be,
// and if the session looks for another reason first.
func TestAllBehindTheNameIsRecorded(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		name         string
		with, behind string // the name comes, and before the session can look
		change       func(f *fixture, c *Config)
		records      []string // between the opening and the closing
	}{
		{"whole", "one\n", "", nil, []string{": one"}},
		{"half", "on", "e\n", nil, []string{": one"}},
		{"more", "one\n", "two\nthree", nil, []string{": one", ": two", "[eof]: three"}},
		{"more than is looked at for a name", long + "\n", "", nil, []string{": " + long}},
		{"just as much", long[:maxName-3], "x\n", nil, []string{": " + long[:maxName-2]}},
		{"too much", "one\ntwo\n", "", func(f *fixture, _ *Config) { f.bounds.Store(&Bounds{Bytes: 5}) }, []string{": one", "[timeout]: t"}},
		{"drained meanwhile", "one\n", "two\n", func(f *fixture, _ *Config) { f.Enter(Draining) }, []string{": one", ": two"}},
		{"over meanwhile", "one\n", "two\nha", func(f *fixture, _ *Config) { f.Enter(Over) }, []string{": one", ": two", "[timeout]: ha"}},
		{"the banner is not taken", "one\n", "two\n", func(f *fixture, c *Config) {
			f.client.SetRoom(0)
			c.Env.BannerTimeout = 1
		}, []string{": one", ": two"}},
		{"another connection", "one\n", "", func(f *fixture, c *Config) { c.Conn = upper{c.Conn} }, []string{": ONE"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			muxed(t, func(f *fixture, _ *[]string) {
				move := f.env.Move
				f.env.Move = func(s, next *Session, listener string, size int) (bool, string) {
					moved, refusal := move(s, next, listener, size)
					if c.change != nil {
						c.change(f, &next.Config)
					}
					f.client.Send(c.behind)
					return moved, refusal
				}
				f.client.Send("a\r\n" + c.with)
				f.start()
				f.sendEnd()
				<-f.ended
				got := f.records()
				if got = got[1 : len(got)-1]; strings.Join(got, "\n") != strings.Join(c.records, "\n") {
					t.Errorf("got %.300q, want %.300q", got, c.records)
				}
			})
		})
	}
}

// TestWhatNobodyWillLookAtIsNotKept: the session's process, or its program, looks by itself.
func TestWhatNobodyWillLookAtIsNotKept(t *testing.T) {
	for name, change := range map[string]func(l *config.Listener){
		"a process":   func(l *config.Listener) { l.Model = "process" },
		"no recorder": func(l *config.Listener) { l.Record = false },
	} {
		t.Run(name, func(t *testing.T) {
			muxed(t, func(f *fixture, _ *[]string) {
				move := f.env.Move
				f.env.Move = func(s, next *Session, listener string, size int) (bool, string) {
					moved, refusal := move(s, next, listener, size)
					change(&next.Settings.Listener)
					next.Settings.Service = func(s *Session) (Service, error) {
						if s.behind != nil {
							t.Error("what came with the name is kept, want it not to be")
						}
						return NewRecorder(s), nil
					}
					return moved, refusal
				}
				f.client.Send("a\r\none\n")
				f.start()
				f.unread(0)
			})
		})
	}
}

// upper is another connection than the one below it, as that within TLS is.
type upper struct{ conn.Conn }

func (u upper) Peek(buf []byte) (int, error) {
	n, err := u.Conn.Peek(buf)
	if n > 0 {
		copy(buf, strings.ToUpper(string(buf[:n])))
	}
	return n, err
}
