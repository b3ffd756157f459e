package sink

// file is a writer that tells a journal of its writes, as recordfile.File does.
type file interface {
	KeepIn(interface {
		Mark(device, inode, size int64)
		Wrote(n int)
		Unwrite(n int, size int64)
	})
}

// Keep makes the sink gather lines in a journal. First it writes the lines that another process has
// left there. If the sink writes to a recordfile.File, that tells the journal how much of each
// write is done. Call Keep before Gather. The caller closes the journal after Release.
func (s *Sink) Keep(j *Journal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = j
	j.forget()
	if f, ok := s.out.(file); ok {
		f.KeepIn(j)
	}
	left := j.unwritten()
	if len(left) == 0 {
		s.batch.lines = j.begin(0)
		return
	}
	// The state is as if the older half was being written while the other one was gathered.
	old := left[0]
	s.batch.written, s.batch.number, s.writing = uint64(old), uint64(old)+1, true
	if len(left) == 2 {
		s.batch.lines = j.gathered(left[1])
	} else {
		s.batch.lines = j.begin(1 - old)
	}
	s.redone.Go(func() { s.redo(old) })
}

// redo writes the lines that another process has left in the journal: the half that it was writing,
// and the half in which it gathered.
func (s *Sink) redo(old int) {
	s.journal.flush(old)
	err := s.flush(s.journal.rest(old))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrote(err, nil)
	if len(s.batch.lines) > 0 && err == nil {
		// If the sink is closed, the next process writes them.
		_ = s.commit(s.batch.number, true)
	}
}

// Release waits until a closed sink no longer uses its journal. No session may be left.
func (s *Sink) Release() { s.redone.Wait() }
