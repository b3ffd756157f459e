package spool

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"tcpmux/daemon/delivery"
)

// Fill replaces what is in b by the records that come next: as many as there are at once, up to
// maxRecords of them and maxBytes, but at least one, however long it is. It waits for the first
// until ctx ends, and returns its error then. It returns io.EOF if there is nothing more where
// Until or OpenFiles end. Only records that a power failure cannot take back are handed out. The
// paths take turns. With what cannot be read, Fill goes on later; Lag says what it is. A *GoneError
// or a *ShrunkError is returned, and returned again as long as nobody has helped; of other paths,
// records are handed out nevertheless.
func (s *Spool) Fill(ctx context.Context, b *Batch, maxRecords int, maxBytes int64) error {
	most := limits{max(maxRecords, 1), maxBytes}
	b.reset(most)
	for {
		err := s.round(b, most)
		if len(b.Records) == 0 && err == nil && s.over() {
			err = io.EOF
		}
		if len(b.Records) == 0 && err == nil {
			b.release(most)
			err = s.pause(ctx, s.untilNext())
			if err == nil {
				continue
			}
		}
		b.Cursor = s.cursor()
		if len(b.Records) > 0 {
			return nil // an error comes again
		}
		return err
	}
}

// round visits each lane once, or as many as fill the batch.
func (s *Spool) round(b *Batch, most limits) error {
	var fatal error
	now := s.now()
	for range s.lanes {
		l := s.lanes[s.turn]
		full, again := false, false
		if l.isDue(now) || s.again {
			s.again = false
			var err error
			full, err = s.look(l, b, most)
			again = full && s.again
			if isFatal(err) && fatal == nil {
				fatal = err
			}
		}
		if !again {
			s.turn = (s.turn + 1) % len(s.lanes)
		}
		if full {
			return fatal
		}
	}
	return fatal
}

// look visits a lane and sets when to look at it again.
func (s *Spool) look(l *lane, b *Batch, most limits) (full bool, err error) {
	before, pos := len(b.Records), l.pos
	full, err = s.visit(l, b, most)
	now := s.now()
	switch {
	case err != nil && l.src != nil && l.src.z != nil && l.src.z.damaged:
		e := l.src.entry
		_ = l.close() // it begins again from the start of the file
		l.damaged = &e
		l.fail(now, err)
		l.next = now.Add(waitPacked)
	case err == errSkipping:
		l.next, l.err, err = time.Time{}, nil, nil
	case err != nil:
		l.fail(now, err)
	case full:
		l.wait, l.next, l.err = 0, time.Time{}, nil
	default:
		if l.pos != pos {
			l.wait = 0
		}
		l.err = l.src.unsynced()
		l.idle(now)
	}
	s.report.set(l, b.Records[before:])
	return full, err
}

// isFatal reports whether only a person can tell how to go on.
func isFatal(err error) bool {
	if _, ok := errors.AsType[*GoneError](err); ok {
		return true
	}
	_, ok := errors.AsType[*ShrunkError](err)
	return ok
}

// over reports whether all lanes are at their end.
func (s *Spool) over() bool {
	for _, l := range s.lanes {
		if !l.over() {
			return false
		}
	}
	return len(s.lanes) > 0
}

// untilNext returns how long to wait until a lane is due.
func (s *Spool) untilNext() time.Duration {
	now, wait := s.now(), waitFaulty
	for _, l := range s.lanes {
		if l.over() {
			continue
		}
		wait = min(wait, l.next.Sub(now))
		if l.src != nil && l.src.sync != nil && l.src.sync.over() {
			wait = min(wait, l.src.sync.ready().Sub(now))
		}
	}
	return max(wait, 0)
}

// sleep is Spool.pause.
func (s *Spool) sleep(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	case <-s.wake:
	}
	return nil
}

// begin begins to sync a file.
func (s *Spool) begin(f *os.File, c *syncing) {
	go func() {
		s.syncs <- struct{}{}
		c.err = s.datasync(f)
		<-s.syncs
		close(c.done)
		select {
		case s.wake <- struct{}{}:
		default: // it will be awake
		}
	}()
}

// cursor returns where all lanes stand.
func (s *Spool) cursor() delivery.Cursor {
	c := make(delivery.Cursor, 0, len(s.lanes)+len(s.carried))
	for _, l := range s.lanes {
		if p := l.stands(); p.Mark != "" {
			c = append(c, p)
		}
	}
	return append(c, s.carried[:min(len(s.carried), max(0, delivery.MaxPositions-len(c)))]...)
}
