package conn

import (
	"sync/atomic"
	"time"
)

// side is one direction of a Poll, for which a goroutine sleeps. That goroutine alone calls what is
// not said to be for others. The zero value is ready to use.
type side struct {
	state    atomic.Uint32
	waker    chan struct{} // has room for one; nil: it has never slept
	deadline *alarm        // nil: none was ever set
}

// What a side's goroutine does, as those who wake it see it.
const (
	awake    = iota
	sleeping // until somebody wakes it
	roused   // it is awake, and does not sleep before it has looked again
)

// rearm has the next sleep last until somebody wakes the side after now.
func (s *side) rearm() { s.state.CompareAndSwap(roused, awake) }

// sleep waits until somebody has called wake since rearm, or the deadline is there.
func (s *side) sleep() {
	s.deadline.set()
	if s.waker == nil {
		// A channel, as a semaphore of package sync would be looked up among those of all.
		s.waker = make(chan struct{}, 1)
	}
	if s.state.CompareAndSwap(awake, sleeping) {
		<-s.waker
	}
}

// wake ends a sleep that is under way, or else the next one. Any goroutine may call it.
func (s *side) wake() {
	for {
		switch s.state.Load() {
		case roused:
			return
		case awake:
			if s.state.CompareAndSwap(awake, roused) {
				return
			}
		case sleeping:
			if s.state.CompareAndSwap(sleeping, awake) {
				s.waker <- struct{}{}
				return
			}
		}
	}
}

// setDeadline sets the deadline; the zero time is none.
func (s *side) setDeadline(t time.Time) {
	if s.deadline == nil {
		if t.IsZero() {
			return
		}
		s.deadline = &alarm{wake: s.wake}
	}
	s.deadline.by.set(t)
	if t.IsZero() {
		s.deadline.stop()
	}
	s.wake() // the sleep may have to end at another time
}

// overdue reports whether the deadline has passed.
func (s *side) overdue() bool {
	if s.deadline == nil {
		return false
	}
	left, set := s.deadline.by.left()
	return set && left <= 0
}

// alarm wakes a side that sleeps when its deadline is there. It may ring before that, so that a
// deadline which is put off again and again costs nothing.
type alarm struct {
	by    deadline
	wake  func()
	timer atomic.Pointer[time.Timer] // nil: it was never needed
	rings int64                      // when it does, or did, as in a deadline; 0: it was stopped
}

// set has the alarm ring at the deadline, if there is one, or before.
func (a *alarm) set() {
	if a == nil {
		return
	}
	at, now := a.by.nanoseconds.Load(), int64(time.Since(loaded))
	if at == 0 || now < a.rings && a.rings <= at {
		return
	}
	a.rings = at
	if t := a.timer.Load(); t != nil {
		t.Reset(time.Duration(at - now))
		return
	}
	a.timer.Store(time.AfterFunc(time.Duration(at-now), a.wake))
}

// stop has the alarm not ring until set is called.
func (a *alarm) stop() {
	a.silence()
	a.rings = 0
}

// silence stops the timer, which would keep the connection in memory until then. Any goroutine may
// call it.
func (a *alarm) silence() {
	if a == nil {
		return
	}
	if t := a.timer.Load(); t != nil {
		t.Stop()
	}
}
