package record

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"
)

// ErrSinkClosed is what Gather and Commit return once the sink was closed: the records were not written.
var ErrSinkClosed = errors.New("record sink is closed")

// A sink gathers at most this many bytes while a write is under way; who comes then waits with its records, and so reads
// no further. It bounds both memory and how much is in flight.
const maxGather = 1 << 20

// While a write fails it is tried again after retryMin, doubling to retryMax.
const (
	retryMin = 10 * time.Millisecond
	retryMax = time.Second
)

// Sink hands the records of many sessions to one writer. All who come while a write is under way are served by the next
// one. When writing fails they wait, and it is tried again until it works: nothing is dropped. Methods may be called from
// any goroutine; nothing runs while nobody calls, once what Keep has found is written.
type Sink struct {
	out     io.Writer
	trouble func(error)
	journal *Journal       // nil: what is gathered ends with the process
	redone  sync.WaitGroup // of what another process has left in the journal

	mu      sync.Mutex
	gather  []byte        // the batch that is being gathered
	spare   []byte        // the one written last, to be used again
	batch   uint64        // the number of the batch that is being gathered
	written uint64        // batches below this number are in the file
	writing bool          // somebody writes, or is about to
	tries   uint64        // writes that have come back, well or not
	failing bool          // the last write failed
	resting bool          // it is waited for the next try
	closed  bool          // no more records are taken
	quit    chan struct{} // closed by Close
	waiting [2]sync.Cond  // for a batch, by its parity: two are in flight at most
	tried   sync.Cond     // for tries to change
}

// NewSink returns a sink that writes whole lines to out, which must say how many bytes of them are written for good, as
// File does. trouble is called when writing begins to fail, with the error, and with nil when it works again.
func NewSink(out io.Writer, trouble func(error)) *Sink {
	s := &Sink{out: out, trouble: trouble, quit: make(chan struct{})}
	s.waiting[0].L, s.waiting[1].L, s.tried.L = &s.mu, &s.mu, &s.mu
	return s
}

// Ticket stands for lines that the sink has taken.
type Ticket uint64

// Giver is told, in the moment in which the sink takes its lines, at which position of the journal they end: where the next process
// finds the journal to reach so far, they are written. It must not call the sink.
type Giver interface{ Taken(position int64) }

// Keep has the sink gather lines in a journal, which stays its caller's to close after Release, and has it write what another
// process has left there, before anything else. It is called before Gather.
func (s *Sink) Keep(j *Journal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = j
	j.forget()
	if f, ok := s.out.(*File); ok {
		f.keepIn(j)
	}
	left := j.unwritten()
	if len(left) == 0 {
		s.gather = j.begin(0)
		return
	}
	// It is as if somebody had been writing the older half, while the other one gathered.
	old := left[0]
	s.written, s.batch, s.writing = uint64(old), uint64(old)+1, true
	if len(left) == 2 {
		s.gather = j.half(left[1])[:j.header().halves[left[1]].size.Load():j.room[left[1]]]
	} else {
		s.gather = j.begin(1 - old)
	}
	s.redone.Go(func() { s.redo(old) })
}

// redo writes what another process has left in the journal: a half that it was writing, and the one that it gathered in.
func (s *Sink) redo(old int) {
	s.journal.flush(old)
	err := s.flush(s.journal.rest(old))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrote(err, nil)
	if len(s.gather) > 0 && err == nil {
		_ = s.commit(s.batch, true) // it fails when the sink is closed: then the next process does it
	}
}

// Release returns when a sink that was closed uses its journal no more. No session may be left.
func (s *Sink) Release() { s.redone.Wait() }

// Gather takes lines for the next write; it copies them. It waits while too much is gathered, and fails only when the sink is
// closed. The lines are not written before somebody calls Commit, which whoever has called Gather must. by is told of its lines, if
// there are any and the sink keeps a journal; nil: nobody is.
func (s *Sink) Gather(lines []byte, by Giver) (Ticket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.gather) >= maxGather && !s.closed {
		_ = s.commit(s.batch, true) // it fails when the sink is closed, which is looked at next
	}
	if s.closed {
		return 0, ErrSinkClosed
	}
	if len(lines) > 0 {
		s.take(lines, by)
	}
	return Ticket(s.batch), nil
}

// take gathers lines. Whoever gives them is told before they count as taken: killed in between, nobody has.
func (s *Sink) take(lines []byte, by Giver) {
	half := int(s.batch & 1)
	s.gather = append(s.journal.grow(half, s.gather, len(lines)), lines...)
	if at := s.journal.position(half, len(s.gather)); at > 0 && by != nil {
		by.Taken(at)
	}
	s.journal.take(half, len(s.gather))
}

// Commit returns when what Gather gave the ticket for, and all that was gathered before it, is written. It fails only when the
// sink is closed before.
func (s *Sink) Commit(t Ticket) error { // no defer: its caller's stack is to stay small
	s.mu.Lock()
	err := s.commit(uint64(t), true)
	s.mu.Unlock()
	return err
}

// CommitNow is Commit for one who had better not yield: a goroutine that owns its thread would cost two switches of threads.
func (s *Sink) CommitNow(t Ticket) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commit(uint64(t), false)
}

// Ping returns when the sink has shown that it lives: nobody writes, or a write has come back, even if it failed.
func (s *Sink) Ping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for tries := s.tries; s.writing && !s.resting && s.tries == tries; {
		s.tried.Wait()
	}
}

// Flush returns when all that was gathered is written, or ctx's error when it is not by then. Those who have gathered write it:
// call it when no more come.
func (s *Sink) Flush(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tried.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for (s.writing || len(s.gather) > 0) && ctx.Err() == nil {
		s.tried.Wait()
	}
	return ctx.Err()
}

// Tries is how many writes have come back, well or not: a sink that lives makes more of them.
func (s *Sink) Tries() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries
}

// Failing says whether the last write failed.
func (s *Sink) Failing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failing
}

// Close makes all who wait, and all who come, fail. Call it when every session has returned, or when they must. It does not
// close the writer. It may be called twice.
func (s *Sink) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	close(s.quit)
	s.waiting[0].Broadcast()
	s.waiting[1].Broadcast()
}

// commit returns when batch n is written. Whoever finds nobody writing does it, for all who gathered.
func (s *Sink) commit(n uint64, yield bool) error {
	for s.written <= n {
		switch {
		case s.closed:
			return ErrSinkClosed
		case s.writing:
			s.waiting[n&1].Wait()
		default:
			if err := s.write(yield); err != nil {
				return err
			}
		}
	}
	return nil
}

// write writes the batch that is being gathered. It is called and returns with mu held, and lets it go meanwhile.
func (s *Sink) write(yield bool) error {
	s.writing = true
	s.mu.Unlock()
	if yield { // every session that has something ready gathers too: one write then serves them all
		runtime.Gosched()
	}
	s.mu.Lock()
	lines := s.gather
	s.journal.flush(int(s.batch & 1))
	s.batch++
	if s.journal != nil {
		s.gather = s.journal.begin(int(s.batch & 1))
	} else {
		s.gather, s.spare = s.spare[:0], nil
	}
	s.mu.Unlock()
	err := s.flush(lines)
	s.mu.Lock()
	s.wrote(err, lines)
	return err
}

// wrote notes how the writing of a batch has come to its end. It is called with mu held.
func (s *Sink) wrote(err error, lines []byte) {
	s.writing = false
	s.tried.Broadcast()
	if cap(lines) <= 4*maxGather {
		s.spare = lines
	}
	if err == nil {
		s.journal.flushed(4 * maxGather)
		s.waiting[s.written&1].Broadcast()
		s.written++
	}
	s.waiting[s.batch&1].Signal() // one of the next batch goes on to write it
}

// flush writes lines, however often it takes, until the sink is closed.
func (s *Sink) flush(lines []byte) error {
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		n, err := s.out.Write(lines)
		s.report(err)
		if err == nil {
			return nil
		}
		lines = lines[n:]
		if err := s.rest(wait, err); err != nil {
			return err
		}
	}
}

// rest waits before the next try, after the last one failed with that error. It fails when the sink is closed meanwhile.
func (s *Sink) rest(wait time.Duration, failed error) error {
	s.setResting(true)
	defer s.setResting(false)
	select {
	case <-time.After(wait):
		return nil
	case <-s.quit:
		return errors.Join(ErrSinkClosed, failed)
	}
}

func (s *Sink) setResting(resting bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resting = resting
	s.tried.Broadcast()
}

// report notes how a write came back, and tells of trouble when it begins and when it is over.
func (s *Sink) report(err error) {
	s.mu.Lock()
	changed := s.failing != (err != nil)
	s.failing = err != nil
	s.tries++
	s.tried.Broadcast()
	s.mu.Unlock()
	if changed {
		s.trouble(err)
	}
}
