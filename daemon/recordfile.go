package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/logging"
	"tcpmux/daemon/record"
	"tcpmux/daemon/recordfile"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sink"
)

const (
	// sinkGrace is how long a record file that fails may still hold up sessions whose time to
	// finish is over.
	sinkGrace = 5 * time.Second
	// recordPause is how long a reload waits for sessions to hand over what they have encoded.
	// Only a sink that makes no progress takes this long.
	recordPause = 5 * time.Second
)

// recordFile is where records end: the file, and the sink in front of it.
type recordFile struct {
	lateFile
	listener   string // which has the file for itself; "": that of all that have none
	sink       *sink.Sink
	conditions *conditions
	counts     recordfile.Counts
	delivery   *deliveryState // which is that of all files
}

// newRecordFile returns a record file that is not open yet, with the options of cfg. The caller
// closes it.
func newRecordFile(cfg config.Config, path, listener string, state *deliveryState) (*recordFile, error) {
	log := state.log
	if listener != "" {
		log = log.With("listener", listener)
	}
	r := &recordFile{listener: listener, conditions: &conditions{log: log}, delivery: state}
	opt, err := r.optionsOf(cfg, path)
	if err != nil {
		return nil, err
	}
	r.setLocked(opt) // nobody has it yet
	var since time.Time
	r.sink = sink.New(r, func(err error) {
		if err != nil {
			since = time.Now()
			log.Error("records cannot be written, clients wait", "err", r.withHint(err))
			return
		}
		log.Warn("records are written again", "duration", time.Since(since).Round(time.Millisecond))
	})
	return r, nil
}

// optionsOf returns the options of the file at a path, which reports to r.
func (r *recordFile) optionsOf(cfg config.Config, path string) (recordfile.Options, error) {
	opt, err := recordOptions(cfg, path, r.conditions)
	opt.Counts = &r.counts
	opt.Undelivered = r.delivery.of(&cfg.Forward, opt.Path)
	return opt, err
}

// withHint adds the next step to an error of a write.
func (r *recordFile) withHint(err error) error {
	if hint := r.roomHint(err); hint != "" {
		return fmt.Errorf("%w%s", err, hint)
	}
	return withFileHint(err)
}

// encoderOf returns what makes encoders of records in the format of cfg, which is a valid one.
func encoderOf(cfg config.Config) func() session.Encoder {
	format, _ := record.ParseFormat(cfg.Record.Format) // the file was opened with it
	return func() session.Encoder { return record.NewEncoder(format) }
}

// giveUp closes a sink that fails or makes no progress once ctx is done, because sessions could not
// end otherwise. Each session counts what the sink did not take. A sink that is merely slow has the
// time it needs. giveUp returns when ended is closed.
func (r *recordFile) giveUp(ctx context.Context, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	tick := time.NewTicker(sinkGrace)
	defer tick.Stop()
	for tries := r.sink.Tries(); ; {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		now := r.sink.Tries()
		if r.sink.Failing() || now == tries && !r.sink.Idle() {
			r.sink.Close()
			return
		}
		tries = now
	}
}

// close closes the sink and the file. No session may be left.
func (r *recordFile) close() error {
	r.sink.Close()
	return r.Close()
}

// FilePath returns the path at which the daemon has a file that the configuration names
// (config.FilePath).
func FilePath(path string) string { return config.FilePath(path) }

// recordOptions returns the options of a record file, which reports to c.
func recordOptions(cfg config.Config, path string, c *conditions) (opt recordfile.Options, err error) {
	opt = fileOptions(cfg, path)
	opt.Sync, opt.MinFree = cfg.Record.Sync, cfg.Record.MinFree
	opt.Trouble = c.note
	opt.Format, err = record.ParseFormat(cfg.Record.Format)
	return opt, err
}

// logOptions returns the options of the daemon's own log.
func logOptions(cfg config.Config) logging.Options {
	opt := logging.Options{Level: cfg.Log.Level}
	if cfg.Log.File != "" {
		opt.File = fileOptions(cfg, cfg.Log.File)
	}
	return opt
}

// fileOptions returns the options of a rotating file that the kernel writes to disk when it likes.
func fileOptions(cfg config.Config, path string) recordfile.Options {
	period, _ := recordfile.ParsePeriod(cfg.Record.Rotate) // the configuration is a valid one
	return recordfile.Options{
		Path:       FilePath(path),
		Mode:       fs.FileMode(cfg.Record.Mode),
		MaxSize:    cfg.Record.MaxSize,
		Rotate:     period,
		MaxBackups: cfg.Record.MaxBackups,
		MaxAge:     cfg.Record.MaxAge,
		Compress:   cfg.Record.Compress,
		Sync:       recordfile.SyncNever,
	}
}

// withFileHint adds the next step to an error of the record file.
func withFileHint(err error) error { return fmt.Errorf("%w%s", err, fileHint(err)) }

func fileHint(err error) string {
	if _, ok := errors.AsType[*recordfile.LockError](err); ok {
		return "" // it has its own
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return " (its directory is not there: make it; one that was removed under the packaged unit" +
			" comes back by systemctl restart tcpmux)"
	case errors.Is(err, fs.ErrPermission):
		return " (the daemon's user must be able to write the directory, or set file under [record])"
	case errors.Is(err, unix.EPIPE):
		return " (its reader has ended)"
	case errors.Is(err, unix.EROFS):
		return " (the unit lets the daemon write only its own directory: systemctl edit tcpmux.service, ReadWritePaths=)"
	}
	return ""
}
