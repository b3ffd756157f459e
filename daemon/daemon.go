// Package daemon is tcpmux at work. Run opens listeners and the record file, serves every client
// that connects, reloads its configuration, and ends. It promises that a message is recorded once,
// whole, with its sender, in the order that the client sent; that a session which has ended has
// been written; and that clients are not read any further while records cannot be written.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/handover"
	"tcpmux/daemon/logging"
	"tcpmux/daemon/processors"
	"tcpmux/daemon/server"
	"tcpmux/daemon/systemd"
)

// Reload loads the configuration, or reports why it cannot be used. Run calls it at the start, and
// while the service manager knows that the daemon reloads.
type Reload func() (config.Config, error)

// Requests are what Run does on request while it serves. A nil channel requests nothing.
type Requests struct {
	// Reload brings new configurations, which take effect under live clients.
	Reload <-chan Reload
	// Upgrade names programs that are to take the place of this one. The process goes on with
	// one that can do so (execve(2)), and else as before.
	Upgrade <-chan handover.Program
	// Reopen closes record and log files that were moved away or deleted, and makes new ones.
	Reopen <-chan struct{}
	// Load is for reloads that are requested over the control socket; nil: none can be.
	Load Reload
	// Version is what the control socket says that the program is.
	Version string
}

var (
	// ErrRestart, as a cause of the end of Run's context, says that another process follows,
	// which goes on with the clients of this one.
	ErrRestart = errors.New("restart")
	// ErrClientsWait reports that the daemon could not start while clients of the previous
	// process wait for one that can serve them. Another attempt may succeed.
	ErrClientsWait = errors.New("clients are connected and wait: it is tried again")
)

// daemon is what serves clients between start and the end of run. It belongs to the goroutine of
// Run.
type daemon struct {
	cfg      config.Config // in force
	fault    error         // why cfg is not what the file says; nil: it is
	phase    phase
	log      *logging.Log
	manager  *notifier
	records  *recordFiles
	srv      *server.Server
	ports    *ports
	tls      *tlsSets
	settings *handover.SettingsStore // those that sessions began with
	handover *handover.Handover      // nil: clients end with the process
	answer   *reloadAnswer
	controls *controls
	calls    chan func() // what requests of the control socket have Run do
	observed
}

// observed is what the control socket shows and nothing depends on.
type observed struct {
	version         string
	load            Reload
	started, loaded time.Time
	changes         []config.Change // of the last reload
	reloads, failed int
	rates           rates
}

// inheritance is what the process was given when it was started.
type inheritance struct {
	sockets, stored []systemd.Socket
	// The process that the sockets in the environment are for instead; "": none.
	misdirected string
}

// Run serves until ctx is done and then drains. If ErrRestart is among the causes of that and
// clients can outlive the process, it leaves them to the next process instead. It does what is
// requested while it serves.
//
// It returns nil when it has done so, even if clients had to be closed; an error that wraps
// config.ErrInvalid when it cannot serve anybody because of the configuration, the sockets that
// systemd passed in, or the programs or rules that the configuration names; and another error when
// it could not start or go on. What keeps one listener from being served keeps no other: it is
// logged, shown in the status line, and tried again.
//
// The daemon logs to stderr unless the configuration names a file. Run may be called once in a
// process, because systemd's sockets are handed out once.
func Run(ctx context.Context, load Reload, requests Requests, stderr io.Writer) error {
	in := inheritance{misdirected: systemd.Misdirected()}
	var err error
	if in.sockets, in.stored, err = systemd.Sockets(); err != nil {
		return fmt.Errorf("%w: %w", config.ErrInvalid, err)
	}
	hideDescriptors()
	d, err := start(in, load, stderr)
	if err != nil {
		return err
	}
	began := time.Now()
	for {
		d.version, d.load, d.started = requests.Version, requests.Load, began
		takeover, err := d.run(ctx, requests)
		if takeover == nil {
			return err
		}
		// Execute returns only if the program could not take over.
		err = errors.Join(err, takeover.Execute(ctx))
		if d, err = resume(ctx, takeover, d.cfg, err, stderr); err != nil {
			return err
		}
	}
}

// hideDescriptors keeps programs from inheriting what was open when the process was started.
// Descriptors that the daemon opens are close-on-exec anyway.
func hideDescriptors() {
	_ = unix.CloseRange(3, math.MaxUint, unix.CLOSE_RANGE_CLOEXEC) // fails before Linux 5.11
}

// start opens what clients are served with, and goes on with those of the previous process.
func start(in inheritance, load Reload, stderr io.Writer) (d *daemon, err error) {
	defer closeSockets(append(in.sockets, in.stored...)) // what is used is a duplicate
	d = &daemon{answer: newReloadAnswer(), calls: make(chan func())}
	if d.settings, err = handover.OpenSettings(in.stored); err != nil {
		// There is no log yet.
		fmt.Fprintf(stderr, "tcpmux: of what clients began with: %v\n", err)
	}
	if err = d.begin(in, load, stderr); err == nil {
		d.adopt(in.stored)
		err = d.idle()
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// begin opens what clients are served with. If the configuration has a fault, or names something
// that has one, while clients of the previous process wait, the configuration that was last in
// force is used instead.
func (d *daemon) begin(in inheritance, load Reload, stderr io.Writer) error {
	cfg, err := load()
	if err == nil {
		err = d.open(cfg, in, stderr)
	}
	if err == nil || !handover.ClientsWait(in.stored) {
		return err
	}
	last, lastErr := d.settings.Last()
	if lastErr != nil || d.open(last, in, stderr) != nil {
		return errors.Join(err, ErrClientsWait)
	}
	d.fault = err
	return nil
}

// open opens what cfg asks for, beginning with what records end in. After an error nothing is open.
func (d *daemon) open(cfg config.Config, in inheritance, stderr io.Writer) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, d.closeFiles())
		}
	}()
	d.cfg = cfg
	if d.log, err = logging.Open(logOptions(cfg), stderr); err != nil {
		return err
	}
	d.manager = &notifier{log: d.log.Logger}
	if in.misdirected != "" {
		d.log.Warn("the sockets in the environment are for another process and not taken; a wrapper has to start tcpmux by exec",
			"LISTEN_PID", in.misdirected, "pid", os.Getpid())
	}
	if d.records, err = openRecordFiles(cfg, d.log.Logger); err != nil {
		return err
	}
	allowThreads(cfg)
	useProcessors(cfg)
	d.tls = newTLSSets(d.log.Logger)
	d.srv = server.New(server.Options{
		SinkOf:  d.records.sessionSink,
		Encoder: encoderOf(cfg),
		TLS:     d.tls.options,
		Events:  cfg.Record.Events,
		Clients: cfg.Limits.Clients,
		Log:     d.log.Logger,
	})
	ctl, status, sockets := splitControl(in.sockets)
	d.ports = openPorts(cfg.Listeners, sockets, d.srv, d.records, d.tls, d.log.Logger)
	d.controls = openControls(cfg, ctl, status, d.log.Logger)
	d.srv.SetLimits(cfg, d.ports.bindings())
	return nil
}

// allowThreads raises the limit of Go's runtime to a thread for each client. Beyond its limit the
// runtime ends the process.
func allowThreads(cfg config.Config) { debug.SetMaxThreads(cfg.Limits.Clients + 10_000) }

// useProcessors has the process use all, where each record waits for the disk: what blocks a thread
// takes a processor along until Go notices.
func useProcessors(cfg config.Config) {
	if cfg.Record.Sync == config.SyncAlways {
		processors.UseAll()
	}
}

// adopt goes on with the clients of the previous process, and makes those of this one outlive it if
// something keeps them. Failures cost only this, and are logged.
func (d *daemon) adopt(stored []systemd.Socket) {
	defer systemd.Feed()() // many clients take a while
	d.handover = handover.Open(handover.Options{
		Stored:     stored,
		Settings:   d.settings,
		Config:     d.cfg,
		Server:     d.srv,
		Sink:       d.records.main.sink,
		RecordFile: d.records.main.Path(),
		OwnSink:    d.records.sinkOf,
		Log:        d.log.Logger,
	})
	d.ports.setOrigins(d.handover.PutSettings(d.cfg))
	d.ports.reach()
	d.handover.Adopt(d.ports.bindings())
}

// idle returns why nobody can be served: no listener is, and no client is left of the previous
// process. A daemon that started only for such clients, with their configuration, needs them.
func (d *daemon) idle() error {
	switch {
	case d.srv.Clients() > 0:
		return nil
	case d.fault != nil:
		return d.fault
	}
	return d.ports.faults()
}

// run serves until ctx is done and then ends, and closes what start has opened. It returns a
// takeover, with the error of closing, when another program is to go on with the clients instead.
func (d *daemon) run(ctx context.Context, requests Requests) (t *handover.Takeover, err error) {
	defer func() { err = errors.Join(err, d.close()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.loaded = time.Now()
	d.controls.start(d.control())
	d.logFault("configuration not loaded, the one before holds")
	d.publish(d.answer.set(d.fault))
	d.ports.start(cancel)
	d.tls.announce(d.cfg.Listeners, d.handover.Survives())
	go d.manager.feedWatchdog(ctx, d.alive())

	d.manager.notify("READY=1", d.status())
	d.log.Info("ready", "records", d.records.main.Path())
	if t = d.serve(ctx, requests); t != nil {
		d.leaveAll()
		return t, nil
	}
	d.manager.notify("STOPPING=1")
	d.end(errors.Is(context.Cause(ctx), ErrRestart) && d.handover.AwaitSurvival())
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return nil, cause
	}
	return nil, nil
}

// close closes everything. No session is left.
func (d *daemon) close() error {
	err := d.closeFiles()
	d.settings.Close()
	return err
}

// closeFiles closes what open has opened, except for the sockets that accept loops close, and the
// handover, which uses that.
func (d *daemon) closeFiles() (err error) {
	d.controls.close()
	d.ports.close()
	if d.records != nil {
		err = d.records.close()
	}
	err = errors.Join(err, d.handover.Close())
	if d.log != nil {
		err = errors.Join(err, d.log.Close())
	}
	d.controls, d.ports, d.records, d.handover, d.log = nil, nil, nil, nil, nil
	return err
}

func closeSockets(all []systemd.Socket) {
	for _, s := range all {
		_ = s.File.Close() // nothing was written
	}
}
