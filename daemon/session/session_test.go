package session

import (
	"errors"
	"slices"
	"strings"
	"tcpmux/daemon/tlsconn"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/record"
)

// stageFunc is a stage.
type stageFunc func(s *Session) (Reason, error)

func (f stageFunc) Run(s *Session) (Reason, error) { return f(s) }

// fakeService notes what is asked of it.
type fakeService struct {
	calls *[]string
	serve func() (Reason, error)
}

func (s fakeService) Serve() (Reason, error) {
	*s.calls = append(*s.calls, "serve")
	return s.serve()
}

func (s fakeService) Changed() { *s.calls = append(*s.calls, "changed") }

// TestStagesRunInOrderBeforeTheService, until one has a reason to end.
func TestStagesRunInOrderBeforeTheService(t *testing.T) {
	for _, c := range []struct {
		name    string
		reasons []Reason
		phase   Phase
		staged  bool
		ended   Reason // in the previous process
		fault   error  // of the service
		want    []string
		records []string
	}{
		{"all go on", []Reason{"", ""}, Serving, false, "", nil, []string{"0", "1", "make", "serve"}, []string{"close: exit 0, 0 records, 0 bytes"}},
		{"the first ends it", []Reason{ByProxy, ""}, Serving, false, "", nil, []string{"0"}, []string{"close: proxy, 0 records, 0 bytes"}},
		{"the last ends it", []Reason{"", ByDrain}, Serving, false, "", nil, []string{"0", "1"}, []string{"close: drain, 0 records, 0 bytes"}},
		{"none of its own", nil, Serving, false, "", nil, []string{"make", "serve"}, []string{"close: exit 0, 0 records, 0 bytes"}},
		{"the phase has changed before", []Reason{""}, Draining, false, "", nil, []string{"0", "make", "changed", "serve"}, []string{"close: exit 0, 0 records, 0 bytes"}},
		{"they are done", []Reason{ByProxy}, Serving, true, "", nil, []string{"make", "serve"}, []string{"close: exit 0, 0 records, 0 bytes"}},
		{"a suspect", []Reason{""}, Serving, false, BySuspect, nil, nil, []string{"close: suspect, 0 records, 0 bytes"}},
		{"it ended with the process", []Reason{""}, Serving, false, ByCrash, nil, nil, []string{"close: crash, 0 records, 0 bytes"}},
		{"there is no service", []Reason{""}, Serving, false, "", errors.New("no pipe"), []string{"0", "make"}, []string{"close: error, 0 records, 0 bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, nil, func(f *fixture) {
				var calls []string
				for i, why := range c.reasons {
					f.config.Settings.Stages = append(f.config.Settings.Stages, stageFunc(func(*Session) (Reason, error) {
						calls = append(calls, string(rune('0'+i)))
						return why, nil
					}))
				}
				f.config.Settings.Service = func(*Session) (Service, error) {
					calls = append(calls, "make")
					return fakeService{&calls, func() (Reason, error) { return "exit 0", nil }}, c.fault
				}
				f.config.Staged, f.config.Resume = c.staged, &Resume{Ended: c.ended}
				f.Session = New(f.config)
				f.Enter(c.phase)
				go func() { defer close(f.ended); f.Run() }()
				synctest.Wait()
				f.over(0)
				if got := slices.Clone(calls); !slices.Equal(got, c.want) {
					t.Errorf("got %q, want %q", got, c.want)
				}
				f.recorded(c.records...)
				if c.fault != nil && !strings.Contains(f.log.String(), c.fault.Error()) {
					t.Errorf("log: got %q, want %v", f.log.String(), c.fault)
				}
			})
		})
	}
}

// keeping is a Keep that tells when it is retired.
type keeping struct {
	held   bool
	retire func()
}

func (k keeping) Survives() bool { return true }

func (k keeping) Retire() bool {
	k.retire()
	return k.held
}

// hangingUp is a connection that tells of HangUp and Close.
type hangingUp struct {
	conn.Conn
	told func(what string)
}

func (h hangingUp) HangUp() { h.told("hang up"); h.Conn.HangUp() }
func (h hangingUp) Close()  { h.told("close"); h.Conn.Close() }

// TestASessionIsOverForTheNextProcessFirst: when its peer is told of the end, a process that comes
// then does not go on with it any more.
func TestASessionIsOverForTheNextProcessFirst(t *testing.T) {
	for _, c := range []struct {
		held bool
		want []string
	}{
		{true, []string{"retire closed=true", "hang up closed=true", "close closed=false"}},
		{false, []string{"retire closed=true", "close closed=false"}},
	} {
		bubble(t, nil, func(f *fixture) {
			var told []string
			slot := newSlot(t)
			note := func(what string) {
				if slot.Closed() {
					told = append(told, what+" closed=true")
				} else {
					told = append(told, what+" closed=false")
				}
			}
			f.config.Slot = slot
			f.config.Keep = keeping{c.held, func() { note("retire") }}
			f.config.Conn = hangingUp{f.client, note}
			f.start()
			f.send("one\n")
			f.sendEnd()
			f.over(0)
			if !slices.Equal(told, c.want) {
				t.Errorf("held %v: got %q, want %q", c.held, told, c.want)
			}
		})
	}
}

// watchedEncoder calls a function before a message is encoded.
type watchedEncoder struct {
	*record.Encoder
	before func()
}

func (w watchedEncoder) Message(dst []byte, m *record.Message) []byte {
	w.before()
	return w.Encoder.Message(dst, m)
}

// TestOnlyWorkOnItsBytesMakesASuspect: a process that ends while a client waits for the sink, at
// whatever place, has not died over the client's bytes; one that ends while they are encoded may
// have.
func TestOnlyWorkOnItsBytesMakesASuspect(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		f.config.Slot = newSlot(t)
		crashed := func() bool { // as the next process would count it
			times, _ := f.config.Slot.Crashed()
			return times > 0
		}
		innocent, blamed, waits, encoded := 0, 0, 0, 0
		f.sink.before = func() {
			if waits++; crashed() {
				innocent++
			}
		}
		f.env.Buffers = NewBuffers(func() Encoder {
			return watchedEncoder{record.NewEncoder(record.Text), func() {
				if encoded++; encoded == 1 && crashed() {
					blamed++
					f.config.Slot.SetBusy(true) // as it was
				}
			}}
		})
		f.start()
		f.send(strings.Repeat("x\n", readSize/2)) // becomes several times BatchSize
		f.sendEnd()
		f.over(0)
		if blamed != 1 {
			t.Error("while the first message was encoded: got a client that is not busy, want a busy one")
		}
		if innocent > 0 || waits < 5 {
			t.Errorf("got a busy client at %d of %d calls of the sink, want none of some", innocent, waits)
		}
	})
}

// TestAPanicIsNoted if it was over the client's bytes.
func TestAPanicIsNoted(t *testing.T) {
	for _, over := range []string{"encoding", "waiting for the sink"} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, nil)
			f.config.Slot = newSlot(t)
			f.config.Events = config.NoEvents
			crash := func() { panic("a test crashes") }
			if over == "encoding" {
				f.env.Buffers = NewBuffers(func() Encoder { return watchedEncoder{record.NewEncoder(record.Text), crash} })
			} else {
				f.sink.before = crash
			}
			f.client.Send("one\n")
			func() {
				defer func() {
					if recover() == nil {
						t.Error("it did not panic")
					}
				}()
				New(f.config).Run()
			}()
			times, panics := f.config.Slot.Crashed()
			if blamed := over == "encoding"; (times == 1) != blamed || (panics == 1) != blamed {
				t.Errorf("%s: got %d crashes and %d panics", over, times, panics)
			}
		})
	}
}

// TestASessionGoesOnWhereThePreviousProcessLeftIt: nothing is recorded twice, and nothing is
// missing.
func TestASessionGoesOnWhereThePreviousProcessLeftIt(t *testing.T) {
	for _, c := range []struct {
		name   string
		resume Resume
		socket string // what is in it
		more   string // what comes then
		want   []string
	}{
		{"between messages", Resume{Opened: true, Offset: 4, Records: 1, Written: 4, Counted: 4}, "", "two\n", []string{": two", "close: eof, 2 records, 8 bytes"}},
		{"half a message is in the socket", Resume{Opened: true, Offset: 4, Records: 1, Written: 4, Counted: 4, Unread: 2}, "tw", "o\n", []string{": two", "close: eof, 2 records, 8 bytes"}},
		{"its opening is not written", Resume{Offset: 0}, "one\n", "", []string{"open", ": one", "close: eof, 1 records, 4 bytes"}},
		{"written and not removed", Resume{Opened: true, Written: 4, Cut: 4, Counted: 4, Records: 1}, "one\n", "two\n", []string{": two", "close: eof, 2 records, 8 bytes"}},
		{"written as a piece and not removed", Resume{Opened: true, Written: 2, Cut: 2, Counted: 2, Records: 1}, "one\n", "", []string{"[cut]: e", "close: eof, 2 records, 4 bytes"}},
		{"written and not counted", Resume{Opened: true, Written: 4, Cut: 4}, "one\n", "two\n", []string{": two", "close: eof, 2 records, 8 bytes"}},
		{"the beginning of a message is moved", Resume{Opened: true, Offset: 4, Records: 1, Written: 4, Counted: 4, Moved: []byte("tw")}, "", "o\n", []string{": two", "close: eof, 2 records, 8 bytes"}},
		{"the beginning of a message is all", Resume{Opened: true, Offset: 4, Records: 1, Written: 4, Counted: 4, Moved: []byte("tw")}, "", "", []string{"[eof]: tw", "close: eof, 2 records, 6 bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, nil, func(f *fixture) {
				c.resume.Greeted = true
				f.config.Resume = &c.resume
				f.client.Send(c.socket)
				f.start()
				if !f.Resumed() {
					t.Error("got a session that begins, want one that goes on")
				}
				f.send(c.more)
				f.sendEnd()
				f.over(0)
				f.recorded(c.want...)
			})
		})
	}
}

// TestSilenceGoesOnInTheNextProcess: it counts from when the client was heard last.
func TestSilenceGoesOnInTheNextProcess(t *testing.T) {
	for _, c := range []struct {
		name   string
		unread int // of two bytes in the socket
		lasted time.Duration
	}{
		{"nothing came meanwhile", 2, 6 * time.Second},
		{"something came meanwhile", 1, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, boundsOf(Bounds{Idle: 10 * time.Second}), func(f *fixture) {
				f.config.Resume = &Resume{Greeted: true, Opened: true, Heard: time.Now().Add(-4 * time.Second), Unread: c.unread}
				f.client.Send("tw")
				f.start()
				f.pass(c.lasted - time.Nanosecond)
				f.served()
				f.pass(time.Nanosecond)
				f.over(c.lasted)
			})
		})
	}
}

// TestAGreetingIsNotRepeated by the next process.
func TestAGreetingIsNotRepeated(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		f.config.Settings.Banner = FixedText("hello\n")
		f.config.Resume = &Resume{Greeted: true}
		f.start()
		f.received("", false)
	})
}

func (k keeping) Secure() tlsconn.Memory { return nil }

func (k keeping) Track() conn.Memory { return nil }

func (k keeping) Forsake() {}

// Join implements Keep.
func (k keeping) Join(conn.Conn) Joint { return nil }
