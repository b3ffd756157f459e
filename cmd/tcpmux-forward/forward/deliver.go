package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"tcpmux/cmd/tcpmux-forward/spool"
	"tcpmux/cmd/tcpmux-forward/stream"
	"tcpmux/daemon/delivery"
)

const (
	// timeout is how long a server may take to answer.
	timeout = 10 * time.Second
	// lastWords is how long what is under way may take when Run is to end.
	lastWords = 5 * time.Second
	// batchBytes is how much is read and published at once, if the network takes that in time,
	// and leastBytes is how much otherwise. A longer record is a batch of its own.
	batchBytes = 4 << 20
	leastBytes = 64 << 10
	// batchRecords is how many records are published at once. The server stores each thousand of
	// them within timeout, and the watchdog waits for longer than that.
	batchRecords = 4000
	// lookEvery is how long is waited for a record before it is said that there is none.
	lookEvery = time.Second
	// connectFor is how long an attempt to connect may take, whatever the number of servers:
	// the watchdog is not fed meanwhile.
	connectFor = 30 * time.Second
	// batches is how many there are: while one is published, the next is read.
	batches = 2
)

// session delivers over one connection, until that fails or ctx is done. It returns nil when there
// is no more to deliver.
func (f *Forwarder) session(ctx context.Context, tries *pause) error {
	opt := stream.Options{Forward: f.cfg.Forward, Host: f.host, Timeout: timeout}
	if f.journal != nil {
		opt.Former = f.journal.state.Filter
	}
	limited, cancel := context.WithTimeout(ctx, connectFor)
	defer cancel()
	conn, err := f.connect(limited, opt)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = &stream.Error{Kind: stream.Outage, Err: fmt.Errorf("connect to %q: no server has answered within %v", f.cfg.Forward.Servers, connectFor)}
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		if err := f.begin(ctx, conn); err != nil {
			return err
		}
		f.report.connected(conn.Info())
		err := f.deliver(ctx, conn, tries)
		if e, ok := errors.AsType[*stream.Error](err); !ok || e.Kind != stream.Stale {
			return err
		}
		// Somebody else has published as this machine: a forwarder that delivers archives,
		// or one that was killed, whose messages came late. The stream says what it has.
		f.report.stale()
		if err := f.wait(ctx, tries.next(err)); err != nil {
			return err
		}
	}
}

// begin asks the stream where the delivery stands, and has the spool go on there.
func (f *Forwarder) begin(ctx context.Context, conn connection) error {
	last, err := conn.Last(ctx)
	if err != nil {
		return err
	}
	from := start{cursor: last.Cursor}
	if f.journal != nil {
		if from, err = decide(ctx, f.journal.state, last, conn.Holds); err != nil {
			return err
		}
	} else if last.Torn {
		return tornError(last)
	}
	from.cursor = f.trim(from.cursor)
	if err := f.files().Seek(from.cursor); err != nil {
		return undecided(err)
	}
	if f.opt.Once {
		f.files().Until(f.until)
	}
	f.report.begins(from, last)
	if f.journal != nil {
		f.journal.adopt(last, from)
	}
	f.cursor = slices.Clone(from.cursor)
	return nil
}

// foreignKept is how many positions are kept of files that this Forwarder does not read.
const foreignKept = 64

// trim leaves out the oldest positions of files that this Forwarder does not read, such as archives
// that were delivered, if they are too many. Whoever delivers an archive puts its position first.
func (f *Forwarder) trim(c delivery.Cursor) delivery.Cursor {
	if f.journal == nil {
		return c
	}
	foreign := func(p delivery.Position) bool { _, known := f.journal.state.Paths[p.Key]; return !known }
	n := 0
	return slices.DeleteFunc(slices.Clone(c), func(p delivery.Position) bool {
		if foreign(p) {
			n++
		}
		return foreign(p) && n > foreignKept
	})
}

// undecided returns what an administrator has to decide if a position is not there, or if a file is
// too short for it.
func undecided(err error) error {
	if gone, ok := errors.AsType[*spool.GoneError](err); ok {
		return &blockedError{gone.Error() + ": it was removed before it was delivered, or another machine delivers " +
			"under the same name (then set host under [forward]). \"tcpmux-forward --forget\" goes on with what is recorded from now on, " +
			"and \"tcpmux-forward --from FILE...\" delivers files that are there"}
	}
	if shrunk, ok := errors.AsType[*spool.ShrunkError](err); ok {
		return &blockedError{shrunk.Error() + ". \"tcpmux-forward --forget\" goes on with what is recorded from now on"}
	}
	return err
}

// filled is a batch that was read, and how the reading went.
type filled struct {
	batch *spool.Batch
	err   error
}

// reader reads batches ahead, on its own goroutine.
type reader struct {
	full chan filled
	free chan *spool.Batch
	stop context.CancelFunc
	over chan struct{}
	// Up to how much a batch has.
	records int
	bytes   *atomic.Int64
}

// read begins to read. The caller stops the reader.
func read(ctx context.Context, from *spool.Spool, records int, bytes *atomic.Int64) *reader {
	ctx, stop := context.WithCancel(ctx)
	r := &reader{
		full: make(chan filled),
		free: make(chan *spool.Batch, batches),
		stop: stop,
		over: make(chan struct{}),

		records: records, bytes: bytes,
	}
	for range batches {
		r.free <- &spool.Batch{}
	}
	go r.run(ctx, from)
	return r
}

func (r *reader) run(ctx context.Context, from *spool.Spool) {
	defer close(r.over)
	for ctx.Err() == nil {
		var b *spool.Batch
		select {
		case b = <-r.free:
		case <-ctx.Done():
			return
		}
		look, done := context.WithTimeout(ctx, lookEvery)
		err := from.Fill(look, b, r.records, r.bytes.Load())
		done()
		select {
		case r.full <- filled{b, err}:
		case <-ctx.Done():
			return
		}
	}
}

// end stops the reader and waits for it.
func (r *reader) end() {
	r.stop()
	<-r.over
}

// deliver publishes what is read, until something fails or there is nothing more to deliver.
func (f *Forwarder) deliver(ctx context.Context, conn connection, tries *pause) error {
	r := read(ctx, f.files(), f.mostAtOnce(), &f.bytes)
	defer r.end()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case cfg := <-f.reloads:
			return &reloadError{cfg}
		case <-conn.Closed():
			return &stream.Error{Kind: stream.Outage, Err: errors.New("the connection was lost")}
		case got := <-r.full:
			done, err := f.settle(ctx, conn, got, tries)
			if err != nil || done {
				return err
			}
			r.free <- got.batch
		}
	}
}

// mostAtOnce returns how many records a batch has at most.
func (f *Forwarder) mostAtOnce() int {
	if rate := f.cfg.Forward.Rate; rate > 0 {
		return min(batchRecords, max(1, rate/10))
	}
	return batchRecords
}

// settle publishes what was read. It reports whether that was the last.
func (f *Forwarder) settle(ctx context.Context, conn connection, got filled, tries *pause) (done bool, err error) {
	if len(got.batch.Records) > 0 {
		if err := f.publish(ctx, conn, got.batch); err != nil {
			return false, err
		}
	} else {
		f.advance(got.batch.Cursor)
		f.report.looked()
	}
	tries.reset()
	f.dog.feed()
	f.tick()
	switch {
	case errors.Is(got.err, io.EOF):
		return true, nil
	case errors.Is(got.err, context.DeadlineExceeded):
		return false, f.stuck()
	}
	return false, undecided(got.err)
}

// stuck returns why there is nothing to deliver, if that is a file that cannot be read and Run is
// to end by itself. A service goes on with the other files.
func (f *Forwarder) stuck() error {
	if !f.opt.ends() {
		return nil
	}
	for _, file := range f.files().Lag(f.cursor) {
		if file.Error != "" {
			return &blockedError{fmt.Sprintf("record file %q cannot be read: %s", file.Path, file.Error)}
		}
	}
	return nil
}

// publish publishes a batch, and notes that it is delivered.
func (f *Forwarder) publish(ctx context.Context, conn connection, b *spool.Batch) error {
	if err := f.pace.wait(ctx, f.cfg.Forward.Rate, len(b.Records), f.dog.feed); err != nil {
		return err
	}
	f.report.publishing(b)
	// What is under way is settled, if it can be soon: otherwise the next process has to find
	// out.
	under, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastWords, cancel) })()
	sequence, err := conn.Publish(under, b)
	f.adapt(b.Bytes, err)
	if err != nil {
		return f.withPath(err)
	}
	f.report.published(b, sequence)
	if f.journal != nil {
		f.journal.state.Filter = stream.Filter(f.cfg.Forward, f.host)
		f.journal.acknowledged(f.report.stream(), sequence, b.Cursor)
	}
	f.advance(b.Cursor)
	return nil
}

// withPath adds the path of the record file to an error that is about one.
func (f *Forwarder) withPath(err error) error {
	e, ok := errors.AsType[*stream.Error](err)
	if !ok || f.journal == nil || f.journal.state.Paths[e.Key] == "" {
		return err
	}
	about := *e
	about.Err = fmt.Errorf("record file %q: %w", f.journal.state.Paths[e.Key], e.Err)
	return &about
}

// adapt sets how large batches are: smaller after each that has failed, because a slow network does
// not take a large one in time, however often it is tried.
func (f *Forwarder) adapt(bytes int64, err error) {
	most := f.bytes.Load()
	if e, ok := errors.AsType[*stream.Error](err); ok && e.Kind == stream.Outage {
		f.bytes.Store(max(most/4, leastBytes))
	} else if err == nil && bytes > most/2 {
		f.bytes.Store(min(2*most, batchBytes))
	}
}

// advance notes where the delivery stands.
func (f *Forwarder) advance(c delivery.Cursor) {
	if c == nil {
		return
	}
	f.cursor = append(f.cursor[:0], c...)
	f.report.stands(c)
	if f.journal != nil {
		f.journal.moved(c)
	}
}

// pace holds a rate.
type pace struct{ next time.Time }

// wait waits until n records may be published at a rate for each second, which is 0 for any. It
// calls meanwhile from time to time.
func (p *pace) wait(ctx context.Context, rate, n int, meanwhile func()) error {
	if rate == 0 {
		return nil
	}
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	for left := p.next.Sub(now); left > 0; left = time.Until(p.next) {
		timer := time.NewTimer(min(left, lookEvery))
		select {
		case <-timer.C:
			meanwhile()
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
	p.next = p.next.Add(time.Duration(n) * time.Second / time.Duration(rate))
	return nil
}
