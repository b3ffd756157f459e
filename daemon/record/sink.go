package record

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"
)

// ErrSinkClosed reports that the sink was closed before the records were written.
var ErrSinkClosed = errors.New("record sink is closed")

// maxGather is how many bytes a sink gathers during a write. Sessions with more records wait, and
// read no further. So it limits both memory and the number of records in flight.
const maxGather = 1 << 20

// A write that fails is tried again after a pause, which doubles from retryMin to retryMax.
const (
	retryMin = 10 * time.Millisecond
	retryMax = time.Second
)

// Sink writes the records of many sessions with one writer. All records that come during a write
// are written together by the next write. If a write fails, sessions wait, and it is tried again
// until it works: no record is dropped. Create a Sink with NewSink. Its methods may be called from
// any goroutine. It has no goroutine of its own, except to write the records that Keep has found.
type Sink struct {
	out     io.Writer
	trouble func(error)
	journal *Journal       // nil: gathered lines are lost if the process is killed
	redone  sync.WaitGroup // runs while lines of another process in the journal are written

	mu      sync.Mutex
	gather  []byte        // the batch that is being gathered
	spare   []byte        // the buffer of the batch written last, for reuse
	batch   uint64        // the number of the batch that is being gathered
	written uint64        // batches below this number are in the file
	writing bool          // a goroutine writes, or is about to
	tries   uint64        // writes that have returned, successful or not
	failing bool          // the last write failed
	resting bool          // in the pause after a failed write
	closed  bool          // no more records are taken
	quit    chan struct{} // closed by Close
	waiting [2]sync.Cond  // for a batch, by its parity: at most two are in flight
	tried   sync.Cond     // for a change of tries, writing or resting
}

// NewSink returns a sink that writes whole lines to out. Write of out must return how many bytes
// are written permanently, as File.Write does. trouble is called with the error when writing begins
// to fail, and with nil when it works again.
func NewSink(out io.Writer, trouble func(error)) *Sink {
	s := &Sink{out: out, trouble: trouble, quit: make(chan struct{})}
	s.waiting[0].L, s.waiting[1].L, s.tried.L = &s.mu, &s.mu, &s.mu
	return s
}

// Ticket identifies lines that the sink has taken.
type Ticket uint64

// Giver gives lines to the sink.
type Giver interface {
	// Taken is called when the sink takes lines of the giver. They end at the given position of the
	// journal: if the next process finds that Journal.Settle reaches it, they are written. Taken
	// must not call the sink.
	Taken(position int64)
}

// Keep makes the sink gather lines in a journal. First it writes the lines that another process has
// left there. Call it before Gather. The caller closes the journal after Release.
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
	// The state is as if the older half was being written while the other one was gathered.
	old := left[0]
	s.written, s.batch, s.writing = uint64(old), uint64(old)+1, true
	if len(left) == 2 {
		s.gather = j.half(left[1])[:j.header().halves[left[1]].size.Load():j.room[left[1]]]
	} else {
		s.gather = j.begin(1 - old)
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
	if len(s.gather) > 0 && err == nil {
		_ = s.commit(s.batch, true) // it fails if the sink is closed: then the next process writes them
	}
}

// Release waits until a closed sink no longer uses its journal. No session may be left.
func (s *Sink) Release() { s.redone.Wait() }

// Gather takes a copy of lines for the next write. It waits while too much is gathered, and fails
// only if the sink is closed. Every caller of Gather must call Commit or CommitNow afterwards, or
// the lines may not be written. If there are lines and the sink has a journal, Gather calls
// by.Taken, unless by is nil.
func (s *Sink) Gather(lines []byte, by Giver) (Ticket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.gather) >= maxGather && !s.closed {
		_ = s.commit(s.batch, true) // it fails if the sink is closed, which is checked next
	}
	if s.closed {
		return 0, ErrSinkClosed
	}
	if len(lines) > 0 {
		s.take(lines, by)
	}
	return Ticket(s.batch), nil
}

// take gathers lines. It calls Taken before the journal counts the lines, so that a process that is
// killed in between has not taken them.
func (s *Sink) take(lines []byte, by Giver) {
	half := int(s.batch & 1)
	s.gather = append(s.journal.grow(half, s.gather, len(lines)), lines...)
	if at := s.journal.position(half, len(s.gather)); at > 0 && by != nil {
		by.Taken(at)
	}
	s.journal.take(half, len(s.gather))
}

// Commit returns when the lines of the ticket, and all that were gathered before them, are written.
// It fails only if the sink is closed before.
func (s *Sink) Commit(t Ticket) error { // without defer, which would need more of the caller's stack
	s.mu.Lock()
	err := s.commit(uint64(t), true)
	s.mu.Unlock()
	return err
}

// CommitNow is Commit that does not yield the processor to other sessions first. It is for
// goroutines that are locked to a thread: yielding would cost two thread switches.
func (s *Sink) CommitNow(t Ticket) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commit(uint64(t), false)
}

// Ping returns when the sink makes progress: when nothing is being written, or a write returns,
// even with an error.
func (s *Sink) Ping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for tries := s.tries; s.writing && !s.resting && s.tries == tries; {
		s.tried.Wait()
	}
}

// Flush waits until all gathered lines are written, or returns the error of ctx. The callers of
// Gather write the lines, so call Flush when no new lines come.
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

// Tries returns how many writes have returned, with or without an error. It increases while the
// sink makes progress.
func (s *Sink) Tries() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries
}

// Failing reports whether the last write failed.
func (s *Sink) Failing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failing
}

// Close makes all present and future calls of Gather and Commit fail. Call it when every session
// has ended, or to make them end. It does not close the writer. It may be called twice.
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

// commit returns when batch n is written. If no other goroutine is writing, it writes for all that
// have gathered lines.
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

// write writes the batch that is being gathered. It is called with mu locked, unlocks it meanwhile,
// and returns with mu locked.
func (s *Sink) write(yield bool) error {
	s.writing = true
	s.mu.Unlock()
	if yield { // other sessions that are ready gather their lines too, for the same write
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

// wrote notes the result of writing a batch. mu is locked.
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
	s.waiting[s.batch&1].Signal() // one session of the next batch writes it
}

// flush writes lines, and tries until it works or the sink is closed.
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

// rest waits before the next try. failed is the error of the last try. It returns an error if the
// sink is closed meanwhile.
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

// report notes the result of a write, and calls trouble if it differs from the previous result.
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
