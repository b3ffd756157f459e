package worker

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"tcpmux/daemon/session"
	"tcpmux/daemon/state"
)

// After a worker that could not be started, the next is tried after retryMin, doubling to retryMax.
const (
	retryMin = 10 * time.Millisecond
	retryMax = time.Second
)

// service has a worker serve a session's client. The daemon keeps the connection meanwhile, so that
// the peer can be told of its end whatever becomes of the worker.
type service struct {
	pool    *Pool
	session *session.Session
	accept  *limits

	mu sync.Mutex // of what is sent to the worker
	// Nil before it is set up, and after it was given back; only Serve changes it.
	worker *worker
	relay  *relay // nil: the worker gets the connection itself; only Serve changes it

	due dueAcks
}

// Serve implements session.Service: it writes down what the worker sends.
func (s *service) Serve() (session.Reason, error) {
	if err := s.begin(); err != nil {
		return session.ByProcess, err
	}
	why, err := s.serve()
	s.endWorker()
	return s.relay.end(why, err)
}

// serve is Serve, once the worker can have a connection. The worker may be left.
func (s *service) serve() (session.Reason, error) {
	err := s.engage()
	s.relay.passed()
	if err != nil {
		if s.session.Phase() == session.Leaving {
			return session.ByLeave, nil
		}
		return session.ByProcess, err
	}
	if err := s.session.Open(); err != nil {
		return session.BySink, err
	}
	for {
		if why, err := s.next(); why != "" {
			return why, err
		}
	}
}

// Changed implements session.Service. Before there is a worker nothing is sent: a setup says how
// things stand.
func (s *service) Changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.relay.changed()
	if s.worker == nil {
		return
	}
	s.hurryLocked()
	s.worker.control(s.relay.control(s.session))
}

// hurryLocked gives the worker grace to end, once its session is to wait for nobody.
func (s *service) hurryLocked() {
	if s.session.Hurried() {
		s.worker.allow(grace)
	}
}

// engage gives the client to a worker. While none can be started it is tried again, as it is better
// for a client to wait than to be turned away, until the time to finish is over, or the next
// process can try.
func (s *service) engage() error {
	s.session.Await(session.ForProcess)
	defer s.session.Await(session.ForClient)
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		err := s.tryEngage()
		s.pool.report(err)
		if err == nil {
			return nil
		}
		time.Sleep(wait)
		if s.session.Phase() >= session.Leaving {
			return err
		}
	}
}

// tryEngage tries the workers that rest, which may have died meanwhile, and at last a new one.
func (s *service) tryEngage() error {
	for {
		w, err := s.pool.take()
		if err != nil {
			return err
		}
		if err = s.setUp(w); err == nil {
			return nil
		}
		w.end()
		if w.clients == 1 {
			return err
		}
	}
}

// setUp gives the client to a worker.
func (s *service) setUp(w *worker) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	setup := setupOf(s.session)
	if setup.Takes = s.tracked() != nil; setup.Takes {
		if err := s.tracked().Rest(); err != nil {
			return err
		}
	}
	setup.Control = s.relay.control(s.session)
	if err := w.setup(s.relay.conn(s.session), setup); err != nil {
		return err
	}
	s.worker = w
	s.hurryLocked()
	if s.session.Resume.Moved != nil {
		s.session.Resume.Moved = nil // it is the worker's to keep
	}
	return nil
}

// endWorker ends the worker, unless its session has ended well.
func (s *service) endWorker() {
	if w := s.release(); w != nil {
		w.end()
	}
}

// release returns the worker, which is sent no more.
func (s *service) release() *worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.worker
	s.worker = nil
	return w
}

// next waits for the worker's next frame and handles it. A reason is that the session ends.
func (s *service) next() (session.Reason, error) {
	frame, err := s.worker.next(s.accept)
	if err != nil {
		return s.orphaned(err)
	}
	switch frame.Kind {
	case frameMessages:
		err = s.record(frame.Size)
	case frameCheckpoint:
		err = s.checkpoint(frame.Size)
	case frameTake:
		err = s.take(frame.Size)
	default:
		return s.finish(frame.Size)
	}
	switch {
	case errors.Is(err, errProtocol), errors.Is(err, errOrphan):
		return s.orphaned(err)
	case err != nil:
		return session.BySink, err
	}
	return "", nil
}

// errOrphan reports that a worker has died within a frame.
var errOrphan = errors.New("session process broke off")

// body reads the body of a frame into the buffer, for which the worker has grace. It is read into
// one of the buffers that sessions share, so that a sink which stands still does not have the
// daemon hold what all workers have to say.
func (s *service) body(b *session.Buffer, size uint32) ([]byte, error) {
	body, err := s.worker.body(b.Frame, size)
	b.Frame = body
	if err != nil {
		return nil, errOrphan
	}
	s.worker.allow(0)
	return body, nil
}

// record writes down the messages of a frame, and tells the worker.
func (s *service) record(size uint32) error {
	b := s.session.Buffers().Get()
	body, err := s.body(b, size)
	if err != nil {
		s.session.Buffers().Put(b)
		return err
	}
	first := s.session.Records()
	s.session.SetBusy(true)
	follows, err := s.add(b, body)
	s.session.SetBusy(false)
	if err != nil {
		return s.session.Drop(b, first, err)
	}
	memory := s.session.Settings.Framing.MemoryAfter(b.Message.End())
	if err := s.session.Commit(b, first); err != nil {
		return err
	}
	if !follows {
		s.session.Slot.Count(state.Tally{Offset: s.session.Offset(), Records: s.session.Records(), Framing: memory})
	}
	s.answer(written)
	if s.session.Slot == nil { // no checkpoint follows
		s.session.Counts.Acknowledged(s.due.sent(1))
	}
	return nil
}

// add encodes the messages of a frame into the buffer. It reports whether a checkpoint follows
// them.
func (s *service) add(b *session.Buffer, body []byte) (follows bool, err error) {
	s.session.Begin(b, time.Now())
	acks := !s.session.Settings.Ack.Empty()
	for len(body) > 0 {
		if body, err = parseMessage(body, &b.Message); err != nil {
			return false, err
		}
		b.Message.Offset = s.session.Offset()
		s.session.Add(b)
		if acks && s.session.Phase() == session.Serving {
			s.due.add(b.Message.Flag)
		}
		follows = checkpointFollows(acks, b.Message.Flag)
	}
	return follows, nil
}

// checkpoint keeps what the worker is about to remove from the socket, and how far its session has
// come.
func (s *service) checkpoint(size uint32) error {
	b := s.session.Buffers().Get()
	defer s.session.Buffers().Put(b)
	body, err := s.body(b, size)
	if err != nil {
		return err
	}
	c, err := parseCheckpoint(body)
	if err != nil {
		return err
	}
	at := c.Progress
	if at.Offset != s.session.Offset() {
		return errProtocol
	}
	s.session.Slot.Count(at.tally(s.session.Records()))
	s.session.SetPartial(int(c.Have) + len(c.more))
	s.session.Counts.Acknowledged(s.due.sent(at.Pieces))
	if s.session.Slot.Extend(at.Offset, int(c.Have), c.more) {
		s.answer(kept)
	} else {
		s.answer(notKept)
	}
	return nil
}

// answer answers the worker. Its grace to end begins anew: while it waited for the answer, its time
// stood still.
func (s *service) answer(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurryLocked()
	s.worker.answer(a)
}

// finish takes over how the worker's session has ended, and gives the worker to the next client.
func (s *service) finish(size uint32) (session.Reason, error) {
	body, err := s.worker.body(nil, size)
	if err != nil {
		return s.orphaned(errOrphan)
	}
	e, err := parseEnd(body)
	if err == nil && e.Progress.Offset != s.session.Offset() {
		err = errProtocol
	}
	if err != nil {
		return s.orphaned(err)
	}
	if e.reason == session.ByLeave {
		s.session.Slot.Count(e.Progress.tally(s.session.Records()))
	}
	s.pool.give(s.release(), s.session.Settings.ClientsPerProcess)
	if e.text != "" {
		err = errors.New(e.text)
	}
	return e.reason, err
}

// orphaned ends a session whose worker has gone without a word, or has to go.
func (s *service) orphaned(err error) (session.Reason, error) {
	switch {
	case errors.Is(err, errProtocol):
		return session.ByProcess, fmt.Errorf("session process: %w", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return session.ByDrain, errors.New("session process did not end in time and was killed")
	}
	return session.ByProcess, fmt.Errorf("session process died: %s", s.worker.end())
}
