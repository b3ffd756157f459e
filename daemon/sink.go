package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/record"
)

// sinkGrace is how long sessions whose drain is over may still wait for a record file that fails.
const sinkGrace = 5 * time.Second

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

// FilePath is where the daemon has a file that the configuration names: a relative path is below $LOGS_DIRECTORY (systemd.exec(5)),
// without that below the working directory. Elements such as ".." are resolved by their names alone.
func FilePath(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	dir, _, _ := strings.Cut(os.Getenv("LOGS_DIRECTORY"), ":")
	return filepath.Join(dir, path)
}

// fileOptions are the options of a rotating file that the kernel has on disk when it likes.
func fileOptions(cfg config.Config, path string) record.FileOptions {
	return record.FileOptions{
		Path:       FilePath(path),
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
	if _, ok := errors.AsType[*record.LockError](err); ok {
		return "" // it has its own
	}
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
