package forward

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/cmd/tcpmux-forward/spool"
	"tcpmux/cmd/tcpmux-forward/stream"
	"tcpmux/config"
	"tcpmux/daemon/delivery"
)

const (
	// longOutage is how long an outage may last before it is a fault.
	longOutage = time.Minute
	// lagEvery is how often it is measured what is not delivered.
	lagEvery = time.Second
	// mostLines is how many lines of a kind are logged a minute.
	mostLines = 10
	// meanRecord is the size of a record, before any was delivered.
	meanRecord = 256
)

// report is what there is to know of a Forwarder, and says it in the log. Its methods are safe for
// concurrent use.
type report struct {
	f   *Forwarder
	log *slog.Logger

	mu       sync.Mutex
	status   api.Status
	of       delivery.Stream
	cursor   delivery.Cursor
	known    bool // cursor is where the delivery stands
	oldest   time.Time
	looks    time.Time // when the loop last proved that it is alive
	measured time.Time
	total    int64 // what was not delivered when Run began
	rate     rate
	outage   time.Time // since when nothing can be delivered; zero: it can
	warnings []string  // about the stream
	unsaved  bool
	faults   limiter // of lines about skipped lines
	causes   limiter // of lines about outages
}

func newReport(f *Forwarder) *report {
	now := time.Now()
	r := &report{f: f, log: f.opt.Log, looks: now, total: -1}
	r.status = api.Status{Version: f.opt.Version, Started: now, State: api.Connecting, Since: now}
	r.outage = now
	if f.journal != nil {
		r.cursor, r.known = f.journal.state.Delivered, true
		r.status.Sequence = f.journal.state.Sequence
	}
	r.configured(f.cfg, f.host)
	return r
}

// configured notes another configuration.
func (r *report) configured(cfg config.Config, host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Stream, r.status.Host = cfg.Forward.Stream, host
	r.status.Server = ""
	if r.outage.IsZero() {
		r.outage = time.Now()
	}
}

// enterLocked changes the state.
func (r *report) enterLocked(state string) {
	if r.status.State != state {
		r.status.State, r.status.Since = state, time.Now()
	}
}

// failed notes that nothing can be delivered, and why.
func (r *report) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	state := api.Connecting
	if _, blocked := errors.AsType[*blockedError](err); blocked {
		state = api.Blocked
	}
	news := r.status.Error != err.Error()
	r.enterLocked(state)
	r.status.Failures++
	r.status.Server = ""
	r.status.Error, r.status.LastError, r.status.LastErrorAt = err.Error(), err.Error(), now
	if r.outage.IsZero() {
		r.outage = now
	}
	r.looks = now
	// An outage is said once for each cause.
	if news && r.causes.allow(now) {
		r.log.Warn("records cannot be delivered, they wait in their files", "err", err)
	}
}

// connected notes a connection. What was wrong may still be: only something that was delivered, or
// that there is nothing to deliver, shows that it is over.
func (r *report) connected(info stream.Info) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.Server == "" {
		r.status.Connects++
	}
	r.status.Server, r.status.ServerVersion, r.status.Mode = info.Server, info.ServerVersion, info.Mode
	r.warnings = info.Warnings
	r.looks = time.Now()
	r.enterLocked(api.Delivering)
}

// worksLocked notes that records can be delivered.
func (r *report) worksLocked(now time.Time) {
	r.looks, r.oldest = now, time.Time{}
	if r.outage.IsZero() {
		return
	}
	lasted := now.Sub(r.outage).Round(time.Millisecond)
	r.outage, r.status.Error = time.Time{}, ""
	r.log.Info("delivering records", "server", r.status.Server, "version", r.status.ServerVersion,
		"stream", r.status.Stream, "mode", r.status.Mode, "outage", lasted)
	for _, w := range r.warnings {
		r.log.Warn("the stream is not as it should be", "err", w)
	}
}

// begins notes where a delivery begins.
func (r *report) begins(from start, last stream.Last) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of = last.Stream
	r.status.Sequence = last.Sequence
	r.cursor, r.known = slices.Clone(from.cursor), true
	r.measured = time.Time{}
	switch {
	case from.lost:
		r.status.Rollbacks++
		r.status.LastError, r.status.LastErrorAt = from.notice, time.Now()
		r.log.Error("the stream has lost records", "err", from.notice)
	case from.notice != "":
		r.log.Warn("another stream", "err", from.notice)
	}
}

// stale notes that somebody else has published as this machine.
func (r *report) stale() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Failures++
	r.log.Debug("another forwarder has published, looking again")
}

// stream returns the stream that is delivered to.
func (r *report) stream() delivery.Stream {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of
}

// publishing notes what is being published.
func (r *report) publishing(b *spool.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.oldest = b.Records[0].Time
	r.enterLocked(api.Delivering)
}

// published notes that a batch was acknowledged.
func (r *report) published(b *spool.Batch, sequence uint64) {
	now := time.Now()
	r.mu.Lock()
	r.status.Sequence, r.status.Acknowledged = sequence, now
	r.status.Records += int64(len(b.Records))
	r.status.Bytes += b.Bytes
	r.rate.add(now, len(b.Records))
	r.worksLocked(now)
	r.mu.Unlock()
	r.progress()
}

// looked notes that there is nothing to deliver.
func (r *report) looked() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.worksLocked(time.Now())
	r.enterLocked(api.Idle)
}

// stands notes where the delivery stands.
func (r *report) stands(c delivery.Cursor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cursor, r.known = append(r.cursor[:0], c...), true
}

// skipped notes a line that is no record.
func (r *report) skipped(fault spool.Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Skipped++
	if r.faults.allow(time.Now()) {
		r.log.Error("a line is no record, and is not delivered", "file", fault.File, "offset", fault.Offset, "err", fault.What)
	}
}

// stateSaved notes how saving the state went.
func (r *report) stateSaved(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if (err != nil) == r.unsaved {
		return
	}
	r.unsaved = err != nil
	if err == nil {
		r.log.Info("the state is saved again")
		return
	}
	r.status.LastError, r.status.LastErrorAt = err.Error(), time.Now()
	r.log.Error("the state cannot be saved: delivered files are kept", "err", err)
}

// progress tells how far Run has come.
func (r *report) progress() {
	if r.f.opt.Progress == nil {
		return
	}
	r.mu.Lock()
	done, total := r.status.Bytes, r.total
	cursor := slices.Clone(r.cursor)
	r.mu.Unlock()
	if total < 0 {
		total = done + sum(r.f.files().Lag(cursor))
		r.mu.Lock()
		r.total = total
		r.mu.Unlock()
	}
	r.f.opt.Progress(done, max(done, total))
}

// sum returns how many bytes are not delivered.
func sum(files []api.File) (n int64) {
	for _, f := range files {
		n += f.Lag
	}
	return n
}

// Status returns what there is to know. What is not delivered is measured once a second.
func (f *Forwarder) Status() api.Status {
	r := f.report
	r.mu.Lock()
	fresh := time.Since(r.measured) < lagEvery
	cursor := slices.Clone(r.cursor)
	r.mu.Unlock()
	var files []api.File
	var oldest time.Time
	if !fresh {
		s := f.files()
		files, oldest = s.Lag(cursor), s.Oldest()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if !fresh {
		r.filesLocked(files)
		r.measured, r.status.Files = now, files
		r.lagLocked(oldest)
	}
	s := r.status
	if s.State == api.Idle && s.Lag.Bytes > 0 {
		s.State = api.Delivering // what there is is being read
	}
	s.Rate = r.rate.of(now)
	s.Files = slices.Clone(s.Files)
	return s
}

// filesLocked says which files can be read no more, or again.
func (r *report) filesLocked(files []api.File) {
	failing := map[string]bool{}
	for _, was := range r.status.Files {
		failing[was.Path] = was.Error != ""
	}
	for _, f := range files {
		switch {
		case f.Error != "" && !failing[f.Path]:
			r.log.Error("a record file cannot be read, its records wait", "file", f.Path, "err", f.Error)
		case f.Error == "" && failing[f.Path]:
			r.log.Info("a record file can be read again", "file", f.Path)
		}
	}
}

// lagLocked notes what is not delivered.
func (r *report) lagLocked(oldest time.Time) {
	mean := int64(meanRecord)
	if r.status.Records > 0 {
		mean = max(1, r.status.Bytes/r.status.Records)
	}
	lag := api.Lag{Bytes: sum(r.status.Files)}
	lag.Records = (lag.Bytes + mean - 1) / mean
	if !r.oldest.IsZero() {
		oldest = r.oldest
	}
	if lag.Bytes > 0 && !oldest.IsZero() {
		lag.Seconds = max(0, time.Since(oldest).Seconds())
	}
	r.status.Lag = lag
}

// Healthy returns why the Forwarder is not healthy: it is blocked, an outage lasts for over a
// minute, or its loop makes no progress.
func (f *Forwarder) Healthy() error {
	r := f.report
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.status.State == api.Blocked:
		return errors.New(r.status.Error)
	case !r.outage.IsZero() && time.Since(r.outage) > longOutage:
		return fmt.Errorf("nothing was delivered for %v: %s", time.Since(r.outage).Round(time.Second), r.status.Error)
	case time.Since(r.looks) > longOutage:
		return fmt.Errorf("the loop has made no progress for %v", time.Since(r.looks).Round(time.Second))
	}
	return nil
}

// Ready returns why records are not being delivered at this moment.
func (f *Forwarder) Ready() error {
	r := f.report
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.status.Error != "":
		return errors.New(r.status.Error)
	case r.status.State == api.Delivering, r.status.State == api.Idle:
		return nil
	}
	return errors.New("connecting")
}
