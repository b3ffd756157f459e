package recordfile

import (
	"errors"
	"os"
	"path/filepath"
)

// everySecond does what is to be done once a second.
func (f *File) everySecond() error {
	f.keeper.idle(f.opt.rule())
	return f.follow()
}

// elsewhere calls f on another goroutine and waits. f needs much stack, and the goroutine that
// writes may be that of a client, which would keep the stack while it is idle.
func elsewhere(f func() error) error {
	done := make(chan error)
	go func() { done <- f() }()
	return <-done
}

// cutBack truncates what a failed write left. If another program has truncated more meanwhile, to
// make room, it does nothing, because Truncate would then extend the file by zeros.
func (f *File) cutBack() error {
	info, err := f.out.Stat()
	if err != nil {
		return f.opt.fail("stat", cause(err))
	}
	if info.Size() > f.out.torn {
		if err := f.out.Truncate(f.out.torn); err != nil {
			return f.opt.fail("truncate", cause(err))
		}
	}
	f.out.size, f.out.needsAdopt = min(info.Size(), f.out.torn), info.Size() < f.out.torn
	f.out.torn = -1
	return nil
}

// follow opens the file again unless its name still refers to our descriptor; then it updates the
// size, which copytruncate from outside may have changed.
func (f *File) follow() error {
	ours, err := f.out.Stat()
	if err != nil {
		return f.opt.fail("stat", cause(err))
	}
	if names(f.opt.Path, f.out.handle) {
		err := f.lock.renew()
		if _, held := errors.AsType[heldError](err); held {
			return f.opt.fail("write", err)
		}
		f.out.renamedAway = nil // if it was renamed, another program has moved it back
		shorter := ours.Size() < f.out.size
		f.out.size = ours.Size()
		if shorter {
			return f.adopt() // it may have been truncated within a line
		}
		return nil
	}
	// The directory existed when the file was opened. If it was removed, it is to be empty, not
	// gone.
	err = os.MkdirAll(filepath.Dir(f.opt.Path), 0o750)
	if err == nil {
		err = f.lock.renew()
	}
	old := f.out.handle
	if err = f.opt.fail("open", cause(err)); err == nil {
		err = f.open()
	}
	if err != nil {
		return err
	}
	f.syncer.letGo(old)
	f.keeper.keep(f.opt.rule()) // the old file may have become a backup
	return f.adopt()
}
