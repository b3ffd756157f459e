package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"tcpmux/config"
	"tcpmux/daemon/recordfile"
	"tcpmux/daemon/server"
	"tcpmux/daemon/session"
)

// reopen changes the files to those of cfg, and makes files that were moved or deleted anew in any
// case. Meanwhile no session is between encoding a record and handing it over, so that a file has
// records of one format only. After an error nothing has changed.
func (r *recordFiles) reopen(ctx context.Context, cfg config.Config, srv *server.Server) (err error) {
	ctx, cancel := context.WithTimeout(ctx, recordPause)
	defer cancel()
	r.tick(srv) // what is let go of may be wanted for another listener
	if err := r.await(ctx); err != nil {
		return err
	}
	next := inForce(r.cfg, cfg)
	plan, err := r.plan(next)
	if err != nil {
		return err
	}
	// Clients that wait for space must not keep a reload from making it available.
	for _, f := range r.all() {
		undo := f.LowerMinFree(next.Record.MinFree)
		defer func() {
			if err != nil {
				undo()
			}
		}()
	}
	stuck := r.stuck(next.Record.Format != r.cfg.Record.Format)
	resume := srv.Pause(ctx, stuck...)
	if resume == nil {
		return errBusy
	}
	defer resume()
	if err := r.flush(ctx, stuck); err != nil {
		return err
	}
	if err := r.change(plan); err != nil {
		return withFileHint(err)
	}
	for _, c := range plan {
		if r.find(c.listener) == nil && c.recordFile != r.main {
			r.add(c.recordFile)
		}
	}
	r.cfg = next
	srv.SetEncoder(encoderOf(next))
	return nil
}

// errBusy is why a reload does not wait for a sink without a limit.
var errBusy = errors.New("records cannot be written: make room or mend the disk, and reload again")

// stuck returns the sinks of listeners whose own files fail. With the same format their sessions
// and lines may wait on: they keep nobody else from a reload.
func (r *recordFiles) stuck(otherFormat bool) (sinks []session.Sink) {
	for _, f := range r.all()[1:] {
		if !otherFormat && f.sink.Failing() {
			sinks = append(sinks, f.sink)
		}
	}
	return sinks
}

// await returns once no file is in the hands of a disk, which may hang, and what is to be done with
// the files would hang too. It fails when ctx is done first.
func (r *recordFiles) await(ctx context.Context) error {
	for _, f := range r.all() {
		if f.sink.Ping(ctx) != nil {
			return f.busy()
		}
		free := make(chan struct{})
		go func() {
			f.touch()
			close(free)
		}()
		select {
		case <-free:
		case <-ctx.Done():
			return f.busy()
		}
	}
	return nil
}

// flush waits until the lines that are gathered are written, but for those of some sinks.
func (r *recordFiles) flush(ctx context.Context, but []session.Sink) error {
	for _, f := range r.all() {
		if !slices.Contains(but, session.Sink(f.sink)) && f.sink.Flush(ctx) != nil {
			return f.busy()
		}
	}
	return nil
}

// busy returns errBusy for the file.
func (r *recordFile) busy() error {
	if r.listener == "" {
		return errBusy
	}
	return fmt.Errorf("listener %q: %w", r.listener, errBusy)
}

// change of a file to other options.
type change struct {
	*recordFile
	from, to recordfile.Options
}

// plan returns how all files change with next, those that it adds included. A file that is not
// wanted any more keeps its path.
func (r *recordFiles) plan(next config.Config) (plan []change, err error) {
	files := r.all()
	for _, l := range next.Listeners {
		if l.File == "" || r.find(l.Name) != nil {
			continue
		}
		f, err := newRecordFile(next, l.File, l.Name, r.delivery)
		if err != nil {
			return nil, err
		}
		none := f.opt
		none.Path = "" // it has none yet, so that it has to be opened
		f.setLocked(none)
		files = append(files, f)
	}
	for _, f := range files {
		path := next.Record.File
		if f != r.main {
			path = cmp.Or(wanted(next, f.listener), f.Path())
		}
		to, err := f.optionsOf(next, path)
		if err != nil {
			return nil, err
		}
		plan = append(plan, change{f, f.options(), to})
	}
	return plan, nil
}

// change changes files, each once no other one has its path. After an error nothing has changed.
func (r *recordFiles) change(plan []change) (err error) {
	var done []change
	defer func() {
		if err == nil {
			return
		}
		for _, c := range slices.Backward(done) {
			err = errors.Join(err, c.undo())
		}
	}()
	left := slices.Clone(plan)
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(c change) bool { return holder(plan, c) == nil })
		if i < 0 {
			return fmt.Errorf("file %q is still that of %s: reload again once it is not", left[0].to.Path, holder(plan, left[0]).owner())
		}
		if err := left[i].Reopen(left[i].to); err != nil {
			return err
		}
		done = append(done, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return nil
}

// holder returns the file that is open at the path which c is to have; nil if none is.
func holder(plan []change, c change) *recordFile {
	for _, other := range plan {
		if other.recordFile != c.recordFile && other.now() != nil && other.Path() == c.to.Path {
			return other.recordFile
		}
	}
	return nil
}

// undo changes a file back.
func (c change) undo() error {
	if c.from.Path == "" {
		return c.Close() // it was not there
	}
	return c.Reopen(c.from)
}

// owner names whose file it is.
func (r *recordFile) owner() string {
	if r.listener == "" {
		return "[record]"
	}
	return fmt.Sprintf("listener %q, some of whose clients still write to it", r.listener)
}
