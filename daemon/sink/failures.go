package sink

import "time"

// failures are runs of writes that failed.
type failures struct {
	err   error     // of the last write; nil: it worked
	since time.Time // when the run began that goes on
	runs  int64
	total time.Duration // of those that are over
}

// note notes the result of a write, and reports whether it differs from the previous one.
func (f *failures) note(err error) (changed bool) {
	if changed = (f.err != nil) != (err != nil); changed {
		if err != nil {
			f.since = time.Now()
			f.runs++
		} else {
			f.total += time.Since(f.since)
		}
	}
	f.err = err
	return changed
}

// State is how a sink is doing.
type State struct {
	Err      error         // of the last write; nil: it worked
	Since    time.Time     // when writing began to fail, if it fails
	Waiting  int           // bytes that are gathered for the next write
	Failures int64         // times that writing began to fail
	Failed   time.Duration // that it has failed in all
}

// State returns how the sink is doing.
func (s *Sink) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.progress.failed
	state := State{Err: f.err, Waiting: len(s.batch.lines), Failures: f.runs, Failed: f.total}
	if f.err != nil {
		state.Since = f.since
		state.Failed += time.Since(f.since)
	}
	return state
}

// Tries returns how many writes have returned, with or without an error. It increases while the
// sink makes progress.
func (s *Sink) Tries() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.progress.tries
}

// Failing reports whether the last write failed.
func (s *Sink) Failing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.progress.failed.err != nil
}

// Idle reports whether no lines are gathered or being written.
func (s *Sink) Idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.writing && len(s.batch.lines) == 0
}

// report notes the result of a write, and calls trouble if it differs from the previous result.
func (s *Sink) report(err error) {
	s.mu.Lock()
	changed := s.progress.failed.note(err)
	s.progress.tries++
	s.progress.changed.Broadcast()
	s.mu.Unlock()
	if changed {
		s.trouble(err)
	}
}
