// Package daemon is tcpmux at work: it takes listeners, greets every client that connects, and writes down what each sends. It
// promises that a message is recorded once, whole, with its sender, in the order that the client sent; that a session which has
// ended has been written; and that while records cannot be written clients are read no further.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/systemd"
)

// sinkGrace is how long sessions whose drain is over may still wait for a record file that fails.
const sinkGrace = 5 * time.Second

// Reload brings a running daemon a new configuration, or says why there is none. It is called while the service manager is
// told that the daemon reloads.
type Reload func() (config.Config, error)

// Wishes are what a running daemon is asked to do. A channel that is nil asks for nothing.
type Wishes struct {
	// Reload brings new configurations, which are taken over under live clients.
	Reload <-chan Reload
	// Upgrade has the daemon end for the sake of another program, if that can take its place: see Bequest.
	Upgrade <-chan Upgrade
	// Reopen has the daemon let go of a record or log file that was moved away or deleted, and make it anew.
	Reopen <-chan struct{}
}

// daemon is what Run has opened.
type daemon struct {
	cfg      config.Config
	log      *logger
	troubles *troubles
	file     *record.File
	sink     *record.Sink
	lns      []*listener
	srv      *Server
	rules    rulesFiles  // of the goroutine that reloads
	mute     atomic.Bool // the service manager could not be told the last time
	kept     atomic.Bool // the service manager stores what it is given
	doing    string      // what is done before the end; "": it is not near
}

// Run serves until ctx is done, then drains; where ErrRestart is among the causes of that, and clients outlive the daemon, it
// leaves them to the next process instead. It returns nil when it has done so, also when clients had to be closed; a *Bequest
// when another program is to take its place; an error that wraps config.ErrInvalid when the configuration does not fit the
// sockets that systemd passed in, the programs or the rules that it names; and any other error when it could not start or go
// on. Wishes come while it serves. The daemon's own log goes to stderr unless the configuration names a file. Run may be
// called once in a process: systemd's sockets are handed out once.
func Run(ctx context.Context, cfg config.Config, wishes Wishes, stderr io.Writer) (err error) {
	d := &daemon{cfg: cfg}
	sockets, stored, err := systemd.Sockets()
	if err != nil {
		return fmt.Errorf("%w: %w", config.ErrInvalid, err)
	}
	keepDescriptors()
	if err := checkPrograms(cfg.Listeners); err != nil {
		return err
	}
	if d.rules, err = openRules(cfg.Listeners); err != nil {
		return err
	}
	if d.log, err = openLog(cfg, stderr); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.log.close()) }()

	d.troubles = &troubles{log: d.log.Logger}
	opt, err := recordOptions(cfg, d.troubles)
	if err != nil {
		return err
	}
	if d.file, d.sink, err = openSink(opt, d.log.Logger); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.file.Close()) }()
	defer d.sink.Close()

	if d.lns, err = listen(cfg.Listeners, sockets, d.log.Logger); err != nil {
		return err
	}
	allowThreads(cfg)
	d.srv = newServer(d.sink, encoderOf(opt.Format), cfg.Record.Events, cfg.Limits.Clients, d.log.Logger)
	d.srv.configure(cfg, d.lns, d.rules)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer d.outlive(stored)()
	var serving sync.WaitGroup
	for _, ln := range d.lns {
		serving.Go(func() {
			if err := d.srv.Serve(ln); !errors.Is(err, ErrServerClosed) {
				cancel(err)
			}
		})
	}
	go d.feedWatchdog(ctx) // it may hang in a sink that does: nobody waits for it

	d.notify("READY=1", d.status())
	d.log.Info("ready", "records", d.file.Path())
	if upgrade := d.mind(ctx, wishes); upgrade {
		err := d.bequeath()
		serving.Wait()
		return err
	}
	d.end(errors.Is(context.Cause(ctx), ErrRestart) && d.survives())
	serving.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// mind keeps the service manager's status line up to date and does what is wished, until ctx is done, or another program is to take
// our place.
func (d *daemon) mind(ctx context.Context, wishes Wishes) (upgrade bool) {
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return false
		case load := <-wishes.Reload:
			d.reload(ctx, load)
		case try := <-wishes.Upgrade:
			if d.upgrade(try) {
				return true
			}
		case <-wishes.Reopen:
			d.reopen()
		case <-tick.C:
		}
		d.rules.refresh(d.lns, d.log.Logger)
		d.srv.refusals.tell(d.log.Logger, refusalInterval)
		if line := d.status(); line != told {
			d.notify(line)
			told = line
		}
	}
}

// allowThreads lets Go's runtime have a thread for each client: beyond its own limit it would end the process.
func allowThreads(cfg config.Config) { debug.SetMaxThreads(cfg.Limits.Clients + 10_000) }

// encoderOf makes encoders of records in a format.
func encoderOf(format record.Format) func() encoder {
	return func() encoder { return record.NewEncoder(format) }
}

// openSink opens the record file and the sink in front of it.
func openSink(opt record.FileOptions, log *slog.Logger) (*record.File, *record.Sink, error) {
	file, err := record.OpenFile(opt)
	if err != nil {
		return nil, nil, fmt.Errorf("%w%s", err, fileHint(err))
	}
	var since time.Time
	return file, record.NewSink(file, func(err error) {
		if err != nil {
			since = time.Now()
			log.Error("records cannot be written, clients wait", "err", fmt.Errorf("%w%s", err, fileHint(err)))
			return
		}
		log.Warn("records are written again", "duration", time.Since(since).Round(time.Millisecond))
	}), nil
}

// recordOptions are the options of the record file.
func recordOptions(cfg config.Config, t *troubles) (record.FileOptions, error) {
	opt := fileOptions(cfg, cfg.Record.File)
	opt.Sync, opt.MinFree = cfg.Record.Sync, cfg.Record.MinFree
	opt.Trouble = t.note
	var err error
	opt.Format, err = record.ParseFormat(cfg.Record.Format)
	return opt, err
}

// fileOptions are the options of a rotating file that the kernel has on disk when it likes; a relative path is below
// $LOGS_DIRECTORY (systemd.exec(5)).
func fileOptions(cfg config.Config, path string) record.FileOptions {
	if dir, _, _ := strings.Cut(os.Getenv("LOGS_DIRECTORY"), ":"); !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return record.FileOptions{
		Path:       path,
		Mode:       fs.FileMode(cfg.Record.Mode),
		MaxSize:    cfg.Record.MaxSize,
		MaxBackups: cfg.Record.MaxBackups,
		MaxAge:     cfg.Record.MaxAge,
		Compress:   cfg.Record.Compress,
		Sync:       record.SyncNever,
	}
}

// fileHint names the next step when the record file cannot be opened.
func fileHint(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return " (its directory is not there: make it; one that was removed under the packaged unit comes back by systemctl restart tcpmux)"
	case errors.Is(err, fs.ErrPermission):
		return " (the daemon's user must be able to write the directory, or set file under [record])"
	case errors.Is(err, unix.EROFS):
		return " (the unit lets the daemon write only its own directory: systemctl edit tcpmux.service, ReadWritePaths=)"
	}
	return ""
}

// end lets the clients finish, then closes them; or leaves them to the next process, if one follows, after those have finished that
// cannot go on.
func (d *daemon) end(leave bool) {
	finish, doing, done := d.srv.Shutdown, "draining", "drained"
	if leave {
		finish, doing, done = d.srv.Leave, "leaving clients to the next process", "left clients to the next process"
	}
	d.notify("STOPPING=1", "STATUS="+doing)
	timeout := d.cfg.DrainTimeout
	defer d.srv.refusals.tell(d.log.Logger, 0)
	d.log.Info(doing, "clients", d.srv.Clients(), "timeout", timeout)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if leave {
		d.doing = doing
		d.meanwhile(func() { d.srv.Settle(ctx) })
	}
	ended := make(chan struct{})
	defer close(ended)
	go d.giveUp(ctx, ended)
	if err := finish(ctx); err != nil {
		d.log.Warn(done, "err", err, "records", d.srv.Records())
		return
	}
	d.log.Info(done, "records", d.srv.Records())
}

// meanwhile does what has to be done now and then for clients that are served, until do has returned.
func (d *daemon) meanwhile(do func()) {
	ctx, done := context.WithCancel(context.Background())
	go func() {
		defer done()
		do()
	}()
	d.mind(ctx, Wishes{})
}

// giveUp closes a sink that fails, or stands still, when ctx is done: the sessions could not end otherwise. What it
// did not take is counted session by session. A sink that is only slow has its time.
func (d *daemon) giveUp(ctx context.Context, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	tick := time.NewTicker(sinkGrace)
	defer tick.Stop()
	for tries := d.sink.Tries(); ; {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		now := d.sink.Tries()
		if d.sink.Failing() || now == tries {
			d.sink.Close()
			return
		}
		tries = now
	}
}
