package session

import (
	"time"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/state"
)

// opening is where the record of a session's opening is.
type opening uint8

const (
	openDone    opening = iota // written, not wanted, or for Open to write
	openHeld                   // to be written with the first message (config.EventsOnData)
	openEncoded                // in the buffer with the first message
)

// Open appends the record that the client has connected, if such records are wanted. If the record
// is held, the session's first message comes with it.
func (s *Session) Open() error {
	if s.opening == openHeld {
		s.Slot.Hold(s.Opened)
		return nil
	}
	if s.Events != config.NoEvents && !s.Resume.Opened {
		s.openGiven = true
		if err := s.recordOpening(); err != nil {
			return err
		}
	}
	s.Slot.Open(s.Opened)
	return nil
}

// recordOpening appends that record. What it says of TLS takes more stack to write than the rest.
func (s *Session) recordOpening() error {
	if s.Source.TLS == nil {
		return s.event(Encoder.Open)
	}
	return aside(func() error { return s.event(Encoder.Open) })
}

// recordEnd appends the record that the session has ended.
func (s *Session) recordEnd(why Reason) error {
	s.closeGiven = true
	return s.event(func(e Encoder, dst []byte) []byte {
		return e.Close(dst, string(why), s.records, s.offset)
	})
}

// event appends one record that says something about the session.
func (s *Session) event(encode func(Encoder, []byte) []byte) error {
	b := s.Buffers().Get()
	s.Begin(b, time.Now())
	b.out = encode(b.encoder, b.out)
	return s.Commit(b, s.records)
}

// Begin has the records that b is given from now on be the session's, of that time.
func (s *Session) Begin(b *Buffer, now time.Time) {
	b.now = now
	b.encoder.Begin(&s.Source, now)
}

// Add encodes b.Message, unless the previous process has written it, and counts it. The session has
// come to its end.
func (s *Session) Add(b *Buffer) {
	if s.opening == openHeld {
		s.addOpening(b)
	}
	m := &b.Message
	end := m.Offset + int64(m.Len())
	if end > s.Resume.Written {
		b.out = b.encoder.Message(b.out, m)
	}
	if m.Offset >= s.Resume.Counted && m.Flag != record.Between {
		s.records++
		b.sizes.Observe(m.Len())
		if m.Flag != "" {
			b.sizes.ObserveFlag(m.Flag)
		}
	}
	s.offset = end
}

// addOpening encodes the record of the opening, which was held, before the first message. The
// record has the time of the opening.
func (s *Session) addOpening(b *Buffer) {
	b.encoder.Begin(&s.Source, s.Opened)
	b.out = b.encoder.Open(b.out)
	b.encoder.Begin(&s.Source, b.now)
	s.opening, s.openGiven, b.opens = openEncoded, true, true
}

// Drop gives a buffer back without its records, of which the sink has none, and counts those since
// first as lost, because of err, which it returns.
func (s *Session) Drop(b *Buffer, first int64, err error) error {
	if b.opens {
		s.opening, s.openGiven = openHeld, false
	}
	s.Buffers().Put(b)
	return s.Lose(first, err)
}

// Commit gives a buffer's records to the sink, which copies them, and waits until they are written.
// The buffer is given back before that. After an error the records since first are lost: the sink
// is closed.
func (s *Session) Commit(b *Buffer, first int64) error {
	s.beginCommit(b)
	ticket, err := s.Settings.Sink.Gather(b.out, s)
	s.Buffers().Put(b)
	if err == nil {
		if s.Settings.Threaded {
			err = s.Settings.Sink.CommitNow(ticket)
		} else {
			err = s.Settings.Sink.Commit(ticket)
		}
	}
	if err != nil {
		return s.Lose(first, err)
	}
	if s.opening == openEncoded {
		s.opening = openDone
		s.Slot.Open(s.Opened)
	}
	s.Env.Records.Add(s.records - first)
	s.endCommit(first)
	return nil
}

// Lose counts the records since first as lost, because of err, which it returns.
func (s *Session) Lose(first int64, err error) error {
	s.lost += int32(s.records - first)
	s.records = first
	return err
}

// Taken implements sink.Giver: it notes what the session has come to once its records up to there
// are written.
func (s *Session) Taken(position int64) {
	s.Slot.Mark(state.Written{
		Offset:  s.offset,
		Records: s.records,
		Opened:  s.openGiven,
		Closed:  s.closeGiven,
	}, position)
}

// slotCheckpoints are those of a session that this process serves itself.
type slotCheckpoints struct{ *state.Slot }

// Save implements Checkpoints: the tally first. A process that finds it without what is moved knows
// that the kernel still has that.
func (s slotCheckpoints) Save(t state.Tally, more bool, moved []byte) error {
	if more {
		s.Count(t)
	}
	s.Shelve(t.Offset, moved)
	return nil
}

// checkpoints returns what keeps how far the session has come.
func (s *Session) checkpoints() Checkpoints {
	if c := s.Checkpoints; c != nil {
		return c
	}
	return slotCheckpoints{s.Slot}
}

// Saved implements Checkpoints.
func (s slotCheckpoints) Saved(offset int64, n int) bool { return s.Shelved(offset, n) }

// SetBusy notes whether the session works on the client's own bytes. A session over which process
// after process ends meanwhile is a suspect. A deferred call around the work would be simpler, and
// cost every session a larger stack.
func (s *Session) SetBusy(busy bool) {
	s.working = busy
	s.Slot.SetBusy(busy)
}

// notePanic notes that the process ends by a panic over the client's bytes, rather than by somebody
// who has killed it. It is deferred where the session's goroutine begins, and so runs while a panic
// unwinds it.
func (s *Session) notePanic() {
	if s.working {
		s.Slot.SetPanic()
	}
}
