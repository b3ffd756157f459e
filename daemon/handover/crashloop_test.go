package handover_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/handover"
	"tcpmux/daemon/record"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sink"
	"tcpmux/daemon/state"
)

// TestSuspectsAreClosed: daemon after daemon has died over the same bytes.
func TestSuspectsAreClosed(t *testing.T) {
	d, st, conn := halfway(t, nil)
	for range handover.MaxCrashes {
		s := d.session() // it is served till then
		d.leave()
		s.Slot.SetBusy(true) // as if it had died
		d = st.next(nil)
	}
	d.AwaitRecords("close from "+conn.Addr(), ": suspect, 1 records, 4 bytes\n")
	d.AwaitClients(0)
}

// TestASuspectIsClosedAsHavingComeToWhatIsRecorded, though the daemon died before it could count
// that.
func TestASuspectIsClosedAsHavingComeToWhatIsRecorded(t *testing.T) {
	d, st := unjournaled(t, nil)
	conn := d.sendHalf()
	for crash := 1; crash <= handover.MaxCrashes; crash++ {
		s := d.session()
		d.leave()
		if crash == handover.MaxCrashes { // before it could go on from there
			s.Slot.Mark(state.Written{Offset: int64(len("one\nha")), Records: 2, Opened: true}, 1)
		}
		s.Slot.SetBusy(true) // as if it had died
		d = st.next(nil)
	}
	d.AwaitRecords("close from "+conn.Addr(), ": suspect, 2 records, 6 bytes\n")
}

func TestProgressClearsASuspect(t *testing.T) {
	d, st := surviving(t, nil)
	d.Open()
	conn := d.Greeted()
	for i := range 2 * handover.MaxCrashes {
		conn.Say(fmt.Sprintf("%d\n", i))
		d.AwaitRecords(fmt.Sprintf(": %d\n", i))
		d.kernelHolds(0)
		s := d.session()
		d.leave()
		s.Slot.SetBusy(true) // as if it had died
		d = st.next(nil)
	}
	conn.Say("last\n")
	d.AwaitRecords(": last\n")
}

// TestAPanicOverItsBytesMakesASuspect sooner than the end of a process that may have been killed.
func TestAPanicOverItsBytesMakesASuspect(t *testing.T) {
	for _, c := range []struct {
		name   string
		panics bool
		most   int
	}{
		{"panics", true, handover.MaxPanics},
		{"any end", false, handover.MaxCrashes},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, st := surviving(t, nil)
			d.Open()
			conn := d.Greeted()
			for range c.most {
				s := d.session() // it is served until then
				d.leave()
				s.Slot.SetBusy(true) // as if it had been killed
				if c.panics {
					s.Slot.SetPanic()
				}
				d = st.next(nil)
			}
			d.AwaitRecords("close from "+conn.Addr(), ": suspect, 0 records, 0 bytes\n")
			d.AwaitClients(0)
		})
	}
}

// watchSink has a function called before the sink is asked for anything that may take long.
func watchSink(before func()) servertest.Option {
	return func(o *server.Options) {
		all := o.SinkOf
		o.SinkOf = func(l config.Listener) session.Sink { return &watchedSink{all(l), before} }
	}
}

// watchedSink calls a function before the sink is asked for anything that may take long.
type watchedSink struct {
	session.Sink
	before func()
}

// Gather implements session.Sink.
func (w *watchedSink) Gather(lines []byte, by sink.Giver) (sink.Ticket, error) {
	w.before()
	return w.Sink.Gather(lines, by)
}

// Commit implements session.Sink.
func (w *watchedSink) Commit(t sink.Ticket) error { w.before(); return w.Sink.Commit(t) }

// CommitNow implements session.Sink.
func (w *watchedSink) CommitNow(t sink.Ticket) error { w.before(); return w.Sink.CommitNow(t) }

// watchEncoder has a function called before a message is encoded.
func watchEncoder(before func()) servertest.Option {
	return func(o *server.Options) {
		encoder := o.Encoder
		o.Encoder = func() session.Encoder { return watchedEncoder{encoder(), before} }
	}
}

// watchedEncoder calls a function before a message is encoded.
type watchedEncoder struct {
	session.Encoder
	before func()
}

// Message implements session.Encoder.
func (w watchedEncoder) Message(dst []byte, m *record.Message) []byte {
	w.before()
	return w.Encoder.Message(dst, m)
}

// TestOnlyWorkOnItsBytesMakesASuspect: a process that ends while a client waits for the sink, at
// whatever place, has not died over the client's bytes; one that ends while they are encoded may
// have.
func TestOnlyWorkOnItsBytesMakesASuspect(t *testing.T) {
	var d *daemon
	var innocent, blamed, waits, encoded atomic.Int64
	crashed := func() bool { // as the next process would count it
		times := 0
		for _, s := range d.sessions.all() {
			times, _ = s.Slot.Crashed()
		}
		return times > 0
	}
	d, _ = surviving(t, nil, watchSink(func() {
		if waits.Add(1); crashed() {
			innocent.Add(1)
		}
	}), watchEncoder(func() {
		if encoded.Add(1) == 1 && crashed() {
			blamed.Add(1)
			for _, s := range d.sessions.all() {
				s.Slot.SetBusy(true) // as it was
			}
		}
	}))
	d.Open()
	c := d.Greeted()
	d.AwaitRecords(" open from ")
	// Becomes several times what is given to the sink at once.
	c.Say(strings.Repeat("x\n", 32<<10))
	_ = c.CloseWrite()
	d.AwaitRecords(" close from ")
	if blamed.Load() != 1 {
		t.Error("while the first message was encoded: got a client that is not busy, want a busy one")
	}
	if got := innocent.Load(); got > 0 {
		t.Errorf("got a busy client at %d of %d calls of the sink, want none", got, waits.Load())
	}
}
