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
	"strings"
	"sync"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/systemd"
)

// sinkGrace is how long sessions whose drain is over may still wait for a record file that fails.
const sinkGrace = 5 * time.Second

// Run serves until ctx is done, then drains. It returns nil when it has drained, also when clients had to be closed; an error
// that wraps config.ErrInvalid when the configuration does not fit the sockets that systemd passed in; and any other error
// when it could not start or go on. The daemon's own log goes to stderr unless the configuration names a file. Run may be
// called once in a process: systemd's sockets are handed out once.
func Run(ctx context.Context, cfg config.Config, stderr io.Writer) (err error) {
	log, closeLog, err := openLog(cfg, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()

	format, err := record.ParseFormat(cfg.Record.Format)
	if err != nil {
		return err
	}
	file, sink, err := openSink(cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	defer sink.Close()

	lns, err := listen(cfg.Listeners, systemd.Sockets(), log)
	if err != nil {
		return err
	}
	srv := newServer(sink, format, cfg.Record.Events, cfg.Limits.Clients, log)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var serving sync.WaitGroup
	for _, ln := range lns {
		serving.Go(func() {
			if err := srv.Serve(ln); !errors.Is(err, ErrServerClosed) {
				cancel(err)
			}
		})
	}
	var telling sync.WaitGroup
	telling.Go(func() { tellStatus(ctx, srv, sink, log) })
	go feedWatchdog(ctx, srv, sink, log) // it may hang in a sink that does: nobody waits for it

	notify(log, "READY=1", status(srv, sink))
	log.Info("ready", "records", file.Path())
	<-ctx.Done()
	telling.Wait()
	notify(log, "STOPPING=1", "STATUS=draining")
	drain(srv, sink, cfg.DrainTimeout, log)
	serving.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// openSink opens the record file and the sink in front of it.
func openSink(cfg config.Config, log *slog.Logger) (*record.File, *record.Sink, error) {
	opt := fileOptions(cfg, cfg.Record.File)
	opt.Trouble = func(err error) {
		if err != nil {
			log.Warn("record file cannot be rotated, it grows", "err", err)
			return
		}
		log.Info("record file is rotated again")
	}
	file, err := record.OpenFile(opt)
	if err != nil {
		return nil, nil, fmt.Errorf("%w%s", err, fileHint(err))
	}
	var since time.Time
	return file, record.NewSink(file, func(err error) {
		if err != nil {
			since = time.Now()
			log.Error("records cannot be written, clients wait", "err", err)
			return
		}
		log.Warn("records are written again", "duration", time.Since(since).Round(time.Millisecond))
	}), nil
}

// fileOptions are the options of a rotating file; a relative path is below $LOGS_DIRECTORY (systemd.exec(5)).
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
	}
}

// fileHint names the next step when the record file cannot be opened.
func fileHint(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return " (the daemon's user must be able to write the directory, or set file under [record])"
	}
	return ""
}

// drain lets the clients finish, then closes them.
func drain(srv *Server, sink *record.Sink, timeout time.Duration, log *slog.Logger) {
	log.Info("draining", "clients", srv.Clients(), "timeout", timeout)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	// A record file that still fails when the clients are over is given up; what it did not take is counted session by session.
	giveUp := time.AfterFunc(timeout+sinkGrace, sink.Close)
	defer giveUp.Stop()
	if err := srv.Shutdown(ctx); err != nil {
		log.Warn("drained", "err", err, "records", srv.Records())
		return
	}
	log.Info("drained", "records", srv.Records())
}
