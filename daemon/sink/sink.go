// Package sink takes the records of all sessions and has them written, many by one write. A session
// may acknowledge a message when Commit returns: the whole record is written then. With a journal
// the sink survives a kill of the process: the next one writes what it has taken.
package sink

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"
)

// ErrClosed reports that the sink was closed before the records were written.
var ErrClosed = errors.New("record sink is closed")

// maxGather is how many bytes a sink gathers during a write. Sessions with more records wait, and
// read no further. So it limits both memory and the number of records in flight.
const maxGather = 1 << 20

// longBatch is how many bytes are worth a write: more would save few calls, and be gone from the
// processor's cache before they are written.
const longBatch = 256 << 10

// A write that fails is tried again after a pause, which doubles from retryMin to retryMax.
const (
	retryMin = 10 * time.Millisecond
	retryMax = time.Second
)

// Sink writes the records of many sessions with one writer. All records that come during a write
// are written together by the next write. If a write fails, sessions wait, and it is tried again
// until it works: no record is dropped. Create a Sink with New. Its methods may be called from any
// goroutine. It has no goroutine of its own, except to write the records that Keep has found.
type Sink struct {
	out     io.Writer
	trouble func(error)
	journal *Journal       // nil: gathered lines are lost if the process is killed
	redone  sync.WaitGroup // runs while lines of another process in the journal are written
	quit    chan struct{}  // closed by Close

	mu       sync.Mutex
	batch    batch
	writing  bool // a goroutine writes, or is about to
	yielding bool // it still has others gather: who makes the batch long writes it instead
	progress progress
	closed   bool // no more records are taken
}

// batch is the lines that are gathered for the next write. At most one batch before it is in
// flight.
type batch struct {
	lines   []byte
	spare   []byte       // the buffer of the batch written last, for reuse
	number  uint64       // how many batches came before
	written uint64       // how many of these are in the file
	waiting [2]sync.Cond // for a batch, by the parity of its number
}

// progress is what the writes have come to.
type progress struct {
	tries   uint64 // writes that have returned, successful or not
	failed  failures
	resting bool      // in the pause after a failed write
	changed sync.Cond // for a change of tries and resting, and of Sink.writing
}

// New returns a sink that writes whole lines to out. Write of out must return how many bytes are
// written permanently, as that of recordfile.File does. trouble is called with the error when
// writing begins to fail, and with nil when it works again.
func New(out io.Writer, trouble func(error)) *Sink {
	s := &Sink{out: out, trouble: trouble, quit: make(chan struct{})}
	s.batch.waiting[0].L, s.batch.waiting[1].L, s.progress.changed.L = &s.mu, &s.mu, &s.mu
	return s
}

// Ticket identifies lines that the sink has taken.
type Ticket uint64

// Giver gives lines to the sink.
type Giver interface {
	// Taken is called when the sink takes lines of the giver. They end at the given position of
	// the journal: if the next process finds that Journal.Settle reaches it, they are written.
	// Taken must not call the sink.
	Taken(position int64)
}

// Gather takes a copy of lines for the next write. It waits while too much is gathered, and fails
// only if the sink is closed. Every caller of Gather must call Commit or CommitNow afterwards, or
// the lines may not be written. If there are lines and the sink has a journal, Gather calls
// by.Taken, unless by is nil.
func (s *Sink) Gather(lines []byte, by Giver) (Ticket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.batch.lines) >= maxGather && !s.closed {
		_ = s.commit(s.batch.number, true) // it fails only if the sink is closed: see below
	}
	if s.closed {
		return 0, ErrClosed
	}
	if len(lines) > 0 {
		s.take(lines, by)
	}
	return Ticket(s.batch.number), nil
}

// take gathers lines. It calls Taken before the journal counts the lines, so that a process that is
// killed in between has not taken them.
func (s *Sink) take(lines []byte, by Giver) {
	half := int(s.batch.number & 1)
	s.batch.lines = append(s.journal.grow(half, s.batch.lines, len(lines)), lines...)
	if at := s.journal.position(half, len(s.batch.lines)); at > 0 && by != nil {
		by.Taken(at)
	}
	s.journal.take(half, len(s.batch.lines))
}

// Commit returns when the lines of the ticket, and all that were gathered before them, are written.
// It fails only if the sink is closed before.
// Without defer, which would need more of the caller's stack.
func (s *Sink) Commit(t Ticket) error {
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
// even with an error. It returns the error of ctx if that is done first.
func (s *Sink) Ping(ctx context.Context) error {
	defer s.recheckAfter(ctx)()
	s.mu.Lock()
	defer s.mu.Unlock()
	for tries := s.progress.tries; s.writing && !s.progress.resting && s.progress.tries == tries; {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.progress.changed.Wait()
	}
	return nil
}

// recheckAfter wakes those who wait for progress when ctx is done, unless stop is called before.
func (s *Sink) recheckAfter(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.progress.changed.Broadcast()
	})
}

// Flush waits until all gathered lines are written, or returns the error of ctx. The callers of
// Gather write the lines, so call Flush when no new lines come.
func (s *Sink) Flush(ctx context.Context) error {
	defer s.recheckAfter(ctx)()
	s.mu.Lock()
	defer s.mu.Unlock()
	for (s.writing || len(s.batch.lines) > 0) && ctx.Err() == nil {
		s.progress.changed.Wait()
	}
	return ctx.Err()
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
	s.batch.waiting[0].Broadcast()
	s.batch.waiting[1].Broadcast()
}

// commit returns when batch n is written. If no other goroutine is writing, or the one that is about
// to has a long batch by now, it writes for all that have gathered lines.
func (s *Sink) commit(n uint64, yield bool) error {
	for s.batch.written <= n {
		switch {
		case s.closed:
			return ErrClosed
		case s.writing && !(s.yielding && s.long()):
			s.batch.waiting[n&1].Wait()
		default:
			if err := s.write(yield); err != nil {
				return err
			}
		}
	}
	return nil
}

// long reports whether the gathered lines are worth a write. mu is locked.
func (s *Sink) long() bool { return len(s.batch.lines) >= longBatch }

// write writes the batch that is being gathered. It is called with mu locked, unlocks it meanwhile,
// and returns with mu locked. With yield another goroutine may do it instead.
func (s *Sink) write(yield bool) error {
	s.writing = true
	if yield && !s.long() && s.yield() {
		return nil
	}
	s.yielding = false
	lines := s.batch.lines
	s.journal.flush(int(s.batch.number & 1))
	s.batch.number++
	if s.journal != nil {
		s.batch.lines = s.journal.begin(int(s.batch.number & 1))
	} else {
		s.batch.lines, s.batch.spare = s.batch.spare[:0], nil
	}
	s.mu.Unlock()
	// As flush does it, without a call: the goroutine of a client keeps the stack that it once
	// needed.
	n, err := s.out.Write(lines)
	if s.report(err); err != nil {
		err = s.retry(lines[n:], err)
	}
	s.mu.Lock()
	s.wrote(err, lines)
	return err
}

// yield has other sessions that are ready gather their lines too, for the same write. It reports
// whether one of them has begun the write. mu is locked, and unlocked meanwhile.
func (s *Sink) yield() (begun bool) {
	n := s.batch.number
	s.yielding = true
	s.mu.Unlock()
	runtime.Gosched()
	s.mu.Lock()
	return s.batch.number != n
}

// wrote notes the result of writing a batch. mu is locked.
func (s *Sink) wrote(err error, lines []byte) {
	s.writing = false
	s.progress.changed.Broadcast()
	if cap(lines) <= 4*maxGather {
		s.batch.spare = lines
	}
	if err == nil {
		s.journal.flushed(4 * maxGather)
		s.batch.waiting[s.batch.written&1].Broadcast()
		s.batch.written++
	}
	s.batch.waiting[s.batch.number&1].Signal() // one session of the next batch writes it
}

// flush writes lines, and tries until it works or the sink is closed.
func (s *Sink) flush(lines []byte) error {
	n, err := s.out.Write(lines)
	if s.report(err); err != nil {
		return s.retry(lines[n:], err)
	}
	return nil
}

// retry writes lines again, after a write has failed, until it works or the sink is closed.
func (s *Sink) retry(lines []byte, failed error) error {
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		if err := s.rest(wait, failed); err != nil {
			return err
		}
		n, err := s.out.Write(lines)
		if s.report(err); err == nil {
			return nil
		}
		lines, failed = lines[n:], err
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
		return errors.Join(ErrClosed, failed)
	}
}

func (s *Sink) setResting(resting bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.progress.resting = resting
	s.progress.changed.Broadcast()
}
