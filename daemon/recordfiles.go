package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"tcpmux/config"
	"tcpmux/daemon/control"
	"tcpmux/daemon/listen"
	"tcpmux/daemon/server"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sink"
)

// recordFiles are all files in which records end: that of [record], and one for each listener that
// has its own. A listener has one file at a time: if its path changes, all of its sessions go on in
// the new one. If it is to have none any more, or is configured no longer, the file stays until
// those sessions have ended that began with it.
//
// What cannot be opened or written holds up the sessions of its own file. Only the goroutine of Run
// changes which files there are.
type recordFiles struct {
	main *recordFile
	cfg  config.Config // in force
	log  *slog.Logger
	// delivery is how far they are delivered.
	delivery *deliveryState

	mu  sync.Mutex
	own []*recordFile

	rotating sync.Mutex // held by rotate
}

// openRecordFiles opens the record files of cfg. It fails if the main one cannot be opened: a
// listener that lacks its own is found out by ready. The caller closes the files.
func openRecordFiles(cfg config.Config, log *slog.Logger) (*recordFiles, error) {
	state := &deliveryState{log: log}
	main, err := newRecordFile(cfg, cfg.Record.File, "", state)
	if err != nil {
		return nil, err
	}
	if err := main.Open(); err != nil {
		return nil, withFileHint(err)
	}
	r := &recordFiles{main: main, cfg: cfg, log: log, delivery: state}
	for _, l := range cfg.Listeners {
		if l.File != "" {
			_ = r.of(l).Open() // as ready does
		}
	}
	return r, nil
}

// all returns all files, that of [record] first.
func (r *recordFiles) all() []*recordFile {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*recordFile{r.main}, r.own...)
}

// find returns the listener's own file; nil if it has none.
func (r *recordFiles) find(listener string) *recordFile {
	for _, f := range r.all()[1:] {
		if f.listener == listener {
			return f
		}
	}
	return nil
}

// of returns the file of a listener's records. An own one that is not there is made, and need not
// be open.
func (r *recordFiles) of(l config.Listener) *recordFile {
	if l.File == "" {
		return r.main
	}
	if f := r.find(l.Name); f != nil {
		return f
	}
	f, err := newRecordFile(r.cfg, l.File, l.Name, r.delivery)
	if err != nil {
		return r.main // not with a format with which the main one is open
	}
	r.add(f)
	return f
}

func (r *recordFiles) add(f *recordFile) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own = append(r.own, f)
}

// sinkOf returns what takes the records of a listener's sessions.
func (r *recordFiles) sinkOf(l config.Listener) *sink.Sink { return r.of(l).sink }

// sessionSink is sinkOf for server.Options.
func (r *recordFiles) sessionSink(l config.Listener) session.Sink { return r.sinkOf(l) }

// ready opens a listener's own file unless it is open, and returns why it cannot be opened.
func (r *recordFiles) ready(l config.Listener) error {
	if l.File == "" {
		return nil
	}
	if err := r.of(l).Open(); err != nil {
		return listen.Misfit{Err: withFileHint(err)}
	}
	return nil
}

// wanted returns the path of the listener's own file in cfg; "" if it is to have none.
func wanted(cfg config.Config, listener string) string {
	i := slices.IndexFunc(cfg.Listeners, func(l config.Listener) bool { return l.Name == listener })
	if i < 0 {
		return ""
	}
	return cfg.Listeners[i].File
}

// tick is to be called about once a second. It closes the files that are wanted no longer once srv
// has no session that uses them. A session that begins in this moment opens the file again. tick
// never waits for a disk.
func (r *recordFiles) tick(srv *server.Server) {
	for _, f := range r.all() {
		f.Tick()
		if f == r.main || wanted(r.cfg, f.listener) != "" || !f.isOpen() || !f.sink.Idle() || srv.Uses(f.sink) {
			continue
		}
		f.Rest(func(err error) {
			if err != nil {
				r.log.Warn("record file not closed in order", "listener", f.listener, "err", err)
				return
			}
			r.log.Info("record file closed, no client writes to it any more", "listener", f.listener, "file", f.Path())
		})
	}
}

// follow makes files anew that were moved or deleted.
func (r *recordFiles) follow() (err error) {
	for _, f := range r.all() {
		err = errors.Join(err, f.Follow())
	}
	return err
}

// ping returns once every sink has made progress, or has nothing to do, or the error of ctx.
func (r *recordFiles) ping(ctx context.Context) error {
	for _, f := range r.all() {
		if err := f.sink.Ping(ctx); err != nil {
			return err
		}
	}
	return nil
}

// giveUp has every file give up by itself. It returns when ended is closed.
func (r *recordFiles) giveUp(ctx context.Context, ended <-chan struct{}) {
	var all sync.WaitGroup
	for _, f := range r.all() {
		all.Go(func() { f.giveUp(ctx, ended) })
	}
	all.Wait()
}

// close closes all sinks and files. No session may be left.
func (r *recordFiles) close() (err error) {
	for _, f := range r.all() {
		err = errors.Join(err, f.close())
	}
	return err
}

// status returns the part of the status line about what is wrong with files, each after a
// semicolon.
func (r *recordFiles) status() (line string) {
	for _, f := range r.all() {
		whose := f.whose()
		if f.sink.Failing() {
			line += "; records cannot be written, clients wait" + whose
		}
		line += f.conditions.status(whose)
	}
	return line
}

// failing returns which files cannot be written, in plain words.
func (r *recordFiles) failing() []string {
	all := []string{}
	for _, f := range r.all() {
		if f.sink.Failing() {
			all = append(all, "records cannot be written, clients wait"+f.whose())
		}
	}
	return all
}

// troubles returns what else is wrong with files, in plain words.
func (r *recordFiles) troubles() (all []string) {
	for _, f := range r.all() {
		for _, text := range f.troubles() {
			all = append(all, text+f.whose())
		}
	}
	if text := r.delivery.problem.Load(); text != nil && r.cfg.Forward.On() {
		all = append(all, *text)
	}
	return all
}

// whose returns the words for whose own file it is; "" if it is that of [record].
func (r *recordFile) whose() string {
	if r.listener == "" {
		return ""
	}
	return " (listener " + r.listener + ")"
}

// errRotating reports that one rotation is enough for a disk that hangs.
var errRotating = fmt.Errorf("%w: another rotation is under way", control.ErrUnavailable)

// rotate rotates all files, and returns which it has rotated.
func (r *recordFiles) rotate() (rotated []string, err error) {
	if !r.rotating.TryLock() {
		return nil, errRotating
	}
	defer r.rotating.Unlock()
	for _, f := range r.all() {
		done, rerr := f.Rotate()
		if done {
			rotated = append(rotated, f.Path())
		}
		err = errors.Join(err, rerr)
	}
	return rotated, err
}
