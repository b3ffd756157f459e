package daemon

import (
	"strings"
	"sync/atomic"
	"testing"

	"tcpmux/daemon/record"
)

// watchedSink calls a function before the sink is asked for anything that it may take its time for.
type watchedSink struct {
	sink
	before func()
}

func (w *watchedSink) Gather(lines []byte, by record.Giver) (record.Ticket, error) {
	w.before()
	return w.sink.Gather(lines, by)
}

func (w *watchedSink) Commit(t record.Ticket) error    { w.before(); return w.sink.Commit(t) }
func (w *watchedSink) CommitNow(t record.Ticket) error { w.before(); return w.sink.CommitNow(t) }

// watchedEncoder calls a function whenever a message is encoded.
type watchedEncoder struct {
	encoder
	during func()
}

func (w watchedEncoder) Message(dst []byte, m *record.Message) []byte {
	w.during()
	return w.encoder.Message(dst, m)
}

// TestAPanicOverItsBytesMakesASuspect sooner than the end of a process that may have been killed.
func TestAPanicOverItsBytesMakesASuspect(t *testing.T) {
	d, e := surviving(t, nil)
	for _, c := range []struct {
		panics bool
		most   int
	}{{true, maxPanics}, {false, maxCrashes}} {
		d.open()
		conn := d.greeted()
		for crash := 1; crash <= c.most; crash++ {
			s := d.onlySession()
			d.leave()
			s.slot.SetBusy(true) // as if it had been killed
			if c.panics {
				(&session{slot: s.slot, working: true}).notePanic() // as run does while a panic unwinds it
			}
			d = e.heir(nil)
		}
		d.records("close from "+conn.addr(), ": suspect, 0 records, 0 bytes\n")
		d.awaitClients(0)
		d, e = surviving(t, nil)
	}
}

// TestOnlyWorkOnItsBytesMakesASuspect: a process that ends while a client waits for the sink, at whatever place, has not died over the
// client's bytes; one that ends while they are encoded may have.
func TestOnlyWorkOnItsBytesMakesASuspect(t *testing.T) {
	d, _ := surviving(t, nil)
	var innocent, blamed, waits, encoded atomic.Int64
	crashed := func() int { // as the next process would count it
		d.srv.mu.Lock()
		defer d.srv.mu.Unlock()
		for s := range d.srv.sessions {
			times, _ := s.slot.Crashed()
			return times
		}
		return 0
	}
	d.srv.sink = &watchedSink{sink: d.srv.sink, before: func() {
		if waits.Add(1); crashed() > 0 {
			innocent.Add(1)
		}
	}}
	made := d.srv.workspaces.encoder
	d.srv.workspaces.encoder = func() encoder {
		return watchedEncoder{made(), func() {
			if n := encoded.Add(1); n == 1 && crashed() > 0 {
				blamed.Add(1)
				d.srv.mu.Lock()
				defer d.srv.mu.Unlock()
				for s := range d.srv.sessions {
					s.slot.SetBusy(true) // as it was
				}
			}
		}}
	}
	d.open()
	conn := d.greeted()
	d.records(" open from ")
	conn.say(strings.Repeat("x\n", readSize/2)) // becomes several times outSize
	_ = conn.CloseWrite()
	d.records(" close from ")
	if blamed.Load() != 1 {
		t.Error("while the first message was encoded: got a client that is not busy, want a busy one")
	}
	if got := innocent.Load(); got > 0 {
		t.Errorf("got a busy client at %d of %d calls of the sink, want none", got, waits.Load())
	}
}
