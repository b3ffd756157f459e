// Package forward delivers record files to a JetStream stream: it connects, asks the stream where
// the delivery stands, reads on from there and publishes. It promises that each record is in the
// stream once and in order, whenever this process, the server or either machine ends, and that
// where this cannot be known, it stops and says what an administrator has to decide.
package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tcpmux/cmd/tcpmux-forward/spool"
	"tcpmux/cmd/tcpmux-forward/stream"
	"tcpmux/config"
	"tcpmux/daemon/delivery"
)

// Options are what a Forwarder needs.
type Options struct {
	// Config is a configuration with forwarding on.
	Config  config.Config
	Log     *slog.Logger
	Version string
	// Once makes Run return when all that is recorded when it begins is delivered.
	Once bool
	// Files are delivered instead of the record files of Config, in this order, and then Run
	// returns. Then neither the state file nor its lock is used, so another Forwarder may run.
	Files []string
	// Progress is called with bytes of record files that are delivered, and with how many there
	// were when Run began. It may be nil, and is for Once and Files.
	Progress func(done, total int64)
}

// ends reports whether Run ends by itself.
func (o *Options) ends() bool { return o.Once || len(o.Files) > 0 }

// Forwarder delivers records. Its methods are safe for concurrent use.
type Forwarder struct {
	opt     Options
	report  *report
	dog     watchdog
	reloads chan config.Config
	connect func(context.Context, stream.Options) (connection, error)

	// For the goroutine of Run.
	cfg     config.Config
	host    string
	journal *journal // nil with Options.Files
	cursor  delivery.Cursor
	until   delivery.Cursor // where Run ends, with Options.Once
	pace    pace

	bytes atomic.Int64 // how much a batch has at most

	mu    sync.Mutex
	spool *spool.Spool
}

// connection is a *stream.Conn.
type connection interface {
	Last(context.Context) (stream.Last, error)
	// Holds reports whether the stream has a message with this sequence.
	Holds(context.Context, uint64) (bool, error)
	Publish(context.Context, *spool.Batch) (uint64, error)
	Closed() <-chan struct{}
	Info() stream.Info
	Close()
}

// New returns a Forwarder. It locks the state directory: an error tells if another process has it.
// The caller closes the Forwarder.
func New(opt Options) (*Forwarder, error) {
	f := &Forwarder{
		opt:     opt,
		reloads: make(chan config.Config, 1),
		connect: func(ctx context.Context, o stream.Options) (connection, error) { return stream.Connect(ctx, o) },
		cfg:     opt.Config,
		dog:     newWatchdog(),
	}
	f.bytes.Store(batchBytes)
	var err error
	if f.host, err = hostOf(opt.Config); err != nil {
		return nil, err
	}
	if len(opt.Files) == 0 {
		if f.journal, err = openJournal(opt.Config); err != nil {
			return nil, err
		}
	}
	f.report = newReport(f)
	if f.spool, err = f.openSpool(); err != nil {
		return nil, errors.Join(err, f.unlock())
	}
	return f, nil
}

// hostOf returns the name of the machine in subjects.
func hostOf(cfg config.Config) (string, error) {
	if cfg.Forward.Host != "" {
		return cfg.Forward.Host, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("name of the machine: %w; set host under [forward]", err)
	}
	return name, nil
}

// openSpool opens the files that are to be delivered.
func (f *Forwarder) openSpool() (*spool.Spool, error) {
	if len(f.opt.Files) > 0 {
		return spool.OpenFiles(f.opt.Files, spool.Options{Fault: f.report.skipped})
	}
	return spool.Open(spool.Options{Paths: f.journal.paths(f.cfg.RecordPaths()), Fault: f.report.skipped}), nil
}

// files returns the Spool.
func (f *Forwarder) files() *spool.Spool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.spool
}

// Run delivers until ctx is done, and returns nil then. With Once or Files it returns nil when all
// is delivered, and an error for what needs a person. Whatever else fails is tried again. Call it
// once.
func (f *Forwarder) Run(ctx context.Context) error {
	if err := f.measure(); err != nil {
		return err
	}
	for pause := newPause(); ; {
		err := f.session(ctx, pause)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if _, reload := errors.AsType[*reloadError](err); !reload {
			f.report.failed(err)
			if f.opt.ends() && needsPerson(err) {
				return err
			}
			err = f.wait(ctx, pause.next(err))
		}
		if ctx.Err() != nil {
			return nil
		}
		if reload, ok := errors.AsType[*reloadError](err); ok {
			if err := f.apply(reload.cfg); err != nil {
				return err
			}
		}
	}
}

// needsPerson reports whether no other try can go better until somebody does something.
func needsPerson(err error) bool {
	_, blocked := errors.AsType[*blockedError](err)
	e, ok := errors.AsType[*stream.Error](err)
	return blocked || ok && e.Kind == stream.Refused
}

// measure finds out how much is to be delivered if Run ends by itself.
func (f *Forwarder) measure() error {
	if !f.opt.Once {
		return nil
	}
	ends, err := f.files().Ends()
	f.until = ends
	return err
}

// wait waits for d. It returns a *reloadError if there is another configuration, and the error of
// ctx when that ends. An outage is known meanwhile, so the watchdog is fed.
func (f *Forwarder) wait(ctx context.Context, d time.Duration) error {
	for end := time.Now().Add(d); ; {
		f.dog.feed()
		f.tick()
		left := time.Until(end)
		if left <= 0 {
			return ctx.Err()
		}
		timer := time.NewTimer(min(left, lookEvery))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case cfg := <-f.reloads:
			timer.Stop()
			return &reloadError{cfg}
		case <-timer.C:
		}
	}
}

// reloadError ends a session because there is another configuration.
type reloadError struct{ cfg config.Config }

// Error is never shown: a new session begins.
func (*reloadError) Error() string { return "another configuration" }

// Reload goes on with another configuration, which has forwarding on, as soon as what is under way
// is settled. The error says what cannot be changed while the Forwarder runs; nothing changes then.
func (f *Forwarder) Reload(cfg config.Config) error {
	if was := f.opt.Config.Forward.State; cfg.Forward.State != was {
		return fmt.Errorf("state under [forward] is %q now and was %q: that needs a restart", cfg.Forward.State, was)
	}
	if _, err := hostOf(cfg); err != nil {
		return err
	}
	select { // the newest replaces one that was not taken yet
	case <-f.reloads:
	default:
	}
	f.reloads <- cfg
	return nil
}

// apply puts another configuration in force. There is no session.
func (f *Forwarder) apply(cfg config.Config) error {
	host, err := hostOf(cfg)
	if err != nil {
		return err // Reload has found it before
	}
	f.cfg, f.host = cfg, host
	f.report.configured(cfg, host)
	if f.journal == nil {
		return nil
	}
	f.journal.keep = cfg.Forward.Keep
	old := f.files()
	next, err := f.openSpool()
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.spool = next
	f.mu.Unlock()
	return old.Close()
}

// Close saves the state and unlocks the state directory. Run must have returned.
func (f *Forwarder) Close() error { return errors.Join(f.files().Close(), f.unlock()) }

func (f *Forwarder) unlock() error {
	if f.journal == nil {
		return nil
	}
	return f.journal.close()
}

// tick does what is to be done from time to time.
func (f *Forwarder) tick() {
	if f.journal == nil {
		return
	}
	f.report.stateSaved(f.journal.tick(time.Now()))
}

// pause is how long to wait before the next try.
type pause struct{ last time.Duration }

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 10 * time.Second
)

func newPause() *pause { return &pause{} }

// next returns how long to wait after an error: each time twice as long, and never quite as long as
// another forwarder.
func (p *pause) next(err error) time.Duration {
	p.last = min(max(2*p.last, firstPause), longestPause)
	if e, ok := errors.AsType[*stream.Error](err); ok && e.Kind == stream.Stale {
		p.last = firstPause
	}
	return p.last/2 + rand.N(p.last/2)
}

// reset forgets the tries so far.
func (p *pause) reset() { p.last = 0 }
