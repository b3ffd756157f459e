// Package daemon is tcpmux at work: it takes listeners, greets every client that connects, and writes down what each sends. It
// promises that a message is recorded once, whole, with its sender, in the order that the client sent; that a session which has
// ended has been written; and that while records cannot be written clients are read no further.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/systemd"
)

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
	load     Reload
	cfg      config.Config
	fault    error // why cfg is not what the file says; nil: it is
	reloaded *reloaded
	origins  *origins // what sessions of this process and of those before began with
	log      *logger
	troubles *troubles
	file     *record.File
	sink     *record.Sink
	journal  *record.Journal // the sink's; nil: nobody keeps one
	lns      []*listener     // also those that are not served
	left     []error         // sockets that are no listener's
	srv      *Server
	serving  sync.WaitGroup
	fail     func(error) // is told when a listener ends by itself
	rules    rulesFiles  // of the goroutine that reloads
	mute     atomic.Bool // the service manager could not be told the last time
	kept     atomic.Bool // the service manager stores what it is given
	doing    string      // what is done before the end; "": it is not near
	// misdirected is the process that the sockets in the environment are for; "" when they are ours, or there are none.
	misdirected string

	begun func() // called once nothing can keep us from serving any more; nil: nobody asks
}

// ErrClientsWait reports that clients of the process before wait for one that can serve them: it is to be tried again.
var ErrClientsWait = errors.New("clients are connected and wait: it is tried again")

// Run serves until ctx is done, then drains; where ErrRestart is among the causes of that, and clients outlive the daemon, it
// leaves them to the next process instead. It returns nil when it has done so, also when clients had to be closed; a *Bequest
// when another program is to take its place, and whoever cannot have it do so calls Resume; an error that wraps
// config.ErrInvalid when there is nobody to serve, as the configuration does not fit the sockets that systemd passed in, the programs
// or the rules that it names; and any other error when it could not start or go on. What keeps one listener from being served keeps no
// other: it is logged, shown in the status line and tried again. Wishes come while it serves. The daemon's own log goes to stderr
// unless the configuration names a file. Run may be called once in a process: systemd's sockets are handed out once.
func Run(ctx context.Context, load Reload, wishes Wishes, stderr io.Writer) error {
	misdirected := systemd.Misdirected()
	sockets, stored, err := systemd.Sockets()
	if err != nil {
		return fmt.Errorf("%w: %w", config.ErrInvalid, err)
	}
	keepDescriptors()
	d := &daemon{load: load, misdirected: misdirected}
	return d.run(ctx, sockets, stored, wishes, stderr)
}

// run is the life of the daemon, with the sockets and the clients of the process before.
func (d *daemon) run(ctx context.Context, sockets, stored []systemd.Socket, wishes Wishes, stderr io.Writer) (err error) {
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.begin(sockets, stored, stderr); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer d.outlive(stored)()
	if err := d.idle(); err != nil {
		return err
	}
	d.tellFault("configuration not loaded, the one before holds")
	d.reloaded = newReloaded()
	d.leaveAnswer(d.reloaded.state(d.fault))
	d.tellAllUnserved()
	d.tellMissing()
	d.fail = cancel
	for _, ln := range d.lns {
		if ln.unserved == nil {
			d.start(ln)
		}
	}
	go d.feedWatchdog(ctx) // it may hang in a sink that does: nobody waits for it

	if d.begun != nil {
		d.begun()
	}
	d.notify("READY=1", d.status())
	d.log.Info("ready", "records", d.file.Path())
	if b := d.mind(ctx, wishes); b != nil {
		d.leaveAll()
		d.serving.Wait()
		return b
	}
	d.notify("STOPPING=1")
	d.end(errors.Is(context.Cause(ctx), ErrRestart) && d.survives())
	d.serving.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// begin opens what clients are served with. When the configuration, or what it asks for, has a fault while clients of the process before
// wait, they are served with the one that was in force then.
func (d *daemon) begin(sockets, stored []systemd.Socket, stderr io.Writer) (err error) {
	defer closeSockets(sockets) // what is served is a duplicate
	d.origins, err = openOrigins(stored)
	if err != nil {
		fmt.Fprintf(stderr, "tcpmux: of what clients began with: %v\n", err) // there is no log yet
	}
	cfg, err := d.load()
	if err == nil {
		err = d.openWith(cfg, sockets, stderr)
	}
	if err == nil || !clientsWait(stored) {
		return err
	}
	last, lerr := d.origins.last()
	if lerr != nil || d.openWith(last, sockets, stderr) != nil {
		return errors.Join(err, ErrClientsWait)
	}
	d.fault = err
	return nil
}

// openWith is open with cfg. After an error nothing is open.
func (d *daemon) openWith(cfg config.Config, sockets []systemd.Socket, stderr io.Writer) error {
	d.cfg = cfg
	err := d.open(sockets, stderr)
	if err != nil {
		err = errors.Join(err, d.close())
		d.sink, d.log = nil, nil
	}
	return err
}

// tellFault logs why the configuration is not what the file says, a line for each fault.
func (d *daemon) tellFault(what string) {
	if d.fault == nil {
		return
	}
	for line := range strings.Lines(d.fault.Error()) {
		d.log.Error(what, "err", strings.TrimSuffix(line, "\n"))
	}
}

// open opens what clients are served with, from the last thing that their bytes come to up to the first. What it has opened when it
// fails close closes.
func (d *daemon) open(sockets []systemd.Socket, stderr io.Writer) (err error) {
	if d.log, err = openLog(d.cfg, stderr); err != nil {
		return err
	}
	if d.misdirected != "" {
		d.log.Warn("the sockets in the environment are for another process and not taken; a wrapper has to start tcpmux by exec",
			"LISTEN_PID", d.misdirected, "pid", os.Getpid())
	}
	d.troubles = &troubles{log: d.log.Logger}
	opt, err := recordOptions(d.cfg, d.troubles)
	if err != nil {
		return err
	}
	if d.file, d.sink, err = openSink(opt, d.log.Logger); err != nil {
		return err
	}
	d.openListeners(sockets)
	allowThreads(d.cfg)
	d.srv = newServer(d.sink, encoderOf(opt.Format), d.cfg.Record.Events, d.cfg.Limits.Clients, d.log.Logger)
	d.srv.configure(d.cfg, d.lns, d.rules)
	return nil
}

// openListeners finds out which listeners can be served.
func (d *daemon) openListeners(sockets []systemd.Socket) {
	d.rules = make(rulesFiles)
	ipv6 := config.HasIPv6()
	d.lns, d.left = listenersOf(d.cfg.Listeners, sockets, ipv6)
	for _, ln := range d.lns {
		d.tryFirst(ln)
	}
	for _, c := range d.cfg.Listeners {
		warnOfDisagreement(c, d.lns, d.log.Logger)
		if len(sockets) == 0 && len(c.Addresses(ipv6)) < len(c.Address) {
			d.log.Info("all addresses are those of IPv4: there is no IPv6", "listener", c.Name)
		}
	}
}

// close closes what open has opened, but for the listeners that are served: whoever serves one closes it.
func (d *daemon) close() (err error) {
	closeUnserved(d.lns)
	if d.sink != nil {
		d.sink.Close()
		err = d.file.Close()
	}
	if d.journal != nil {
		d.sink.Release()
		err = errors.Join(err, d.journal.Close())
	}
	if d.log != nil {
		err = errors.Join(err, d.log.close())
	}
	return err
}

// start lets the clients of a listener in.
func (d *daemon) start(ln *listener) {
	d.serving.Go(func() {
		if err := d.srv.Serve(ln); !errors.Is(err, ErrServerClosed) {
			d.fail(err)
		}
	})
}

// mind keeps the service manager's status line up to date and does what is wished, until ctx is done, or another program is to take
// our place: then it returns what that needs.
func (d *daemon) mind(ctx context.Context, wishes Wishes) *Bequest {
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	told := ""
	for ctx.Err() == nil { // what is wished in the moment of the end is not begun
		select {
		case <-ctx.Done():
			return nil
		case load := <-wishes.Reload:
			d.reload(ctx, load)
		case try := <-wishes.Upgrade:
			if b := d.upgrade(try); b != nil {
				return b
			}
		case <-wishes.Reopen:
			d.reopen()
		case <-tick.C:
		}
		if d.doing == "" { // near the end nobody new is let in
			d.retry(time.Now())
		}
		d.rules.refresh(d.lns, d.log.Logger)
		d.sumUp(summaryInterval)
		if line := d.status(); line != told {
			d.notify(line)
			told = line
		}
	}
	return nil
}

// sumUp logs what has no line of its own, unless the last time was short of an interval ago.
func (d *daemon) sumUp(interval time.Duration) {
	d.srv.refusals.tell(d.log.Logger, interval)
	d.srv.silent.tell(d.log.Logger, interval)
	d.srv.lines.tell(d.log.Logger, interval)
}

// allowThreads lets Go's runtime have a thread for each client: beyond its own limit it would end the process.
func allowThreads(cfg config.Config) { debug.SetMaxThreads(cfg.Limits.Clients + 10_000) }

// endGrace is how long the end may take beyond drain_timeout before the service manager takes us for hung.
const endGrace = 30 * time.Second

// end lets the clients finish, then closes them; or leaves them to the next process, if one follows, after those have finished that
// cannot go on. A stop that comes while those do takes the restart's place.
func (d *daemon) end(leave bool) {
	defer d.sumUp(0)
	if leave {
		const doing = "leaving clients to the next process"
		ctx, cancel := d.beginEnd(doing)
		defer cancel()
		d.doing = doing
		if !d.settle(ctx) {
			d.finish(ctx, d.srv.Leave, "left clients to the next process")
			return
		}
		d.log.Info("stopped while a restart waits for those who may finish first: nobody follows")
	}
	ctx, cancel := d.beginEnd("draining")
	defer cancel()
	d.finish(ctx, d.srv.Shutdown, "drained")
}

// beginEnd tells what is done before the end. The context is done when clients have had their time.
func (d *daemon) beginEnd(doing string) (context.Context, context.CancelFunc) {
	timeout := d.cfg.DrainTimeout
	d.notify(systemd.ExtendTimeout(timeout+endGrace), "STATUS="+doing)
	d.log.Info(doing, "clients", d.srv.Clients(), "timeout", timeout)
	return context.WithTimeout(context.Background(), timeout)
}

// finish ends serving by one of the server's methods, and tells that it is done.
func (d *daemon) finish(ctx context.Context, by func(context.Context) error, done string) {
	ended := make(chan struct{})
	defer close(ended)
	go d.giveUp(ctx, ended)
	if err := by(ctx); err != nil {
		d.log.Warn(done, "err", err, "records", d.srv.Records())
		return
	}
	d.log.Info(done, "records", d.srv.Records())
}

// stopInterval is how often it is looked, while a restart waits for clients, whether the service is to stop instead.
const stopInterval = time.Second

// settle has those finish who cannot go on with the next process, while all others are served. It returns true, and that at once, when
// the service is to stop: systemd sends no second signal, and would drop the clients that are left to a process which never comes. In
// the instant between the last look and our end that still happens; then clients are reset, and no record has their end.
func (d *daemon) settle(ctx context.Context) (stop bool) {
	settling, done := context.WithCancel(context.Background())
	defer done()
	began := time.Now()
	go func() {
		defer done()
		d.srv.Settle(ctx)
	}()
	var stopped atomic.Bool
	go func() {
		tick := time.NewTicker(stopInterval)
		defer tick.Stop()
		for {
			select {
			case <-settling.Done():
				return
			case <-tick.C:
			}
			if systemd.StopAsked(settling) {
				stopped.Store(true)
				done()
			}
		}
	}()
	d.mind(settling, Wishes{})
	return stopped.Load() || time.Since(began) >= stopInterval && systemd.StopAsked(ctx)
}
