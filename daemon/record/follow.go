package record

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// settle cuts off what a failed write left, and follows the name when the file was moved or deleted: at most once a second,
// as that is a system call.
func (f *File) settle() error {
	if f.torn >= 0 {
		if err := f.cutBack(); err != nil {
			return err
		}
	}
	if now := time.Now(); f.astray != nil || now.Sub(f.looked) >= time.Second || now.Before(f.looked) {
		f.looked, f.spare = now, 0
		if err := elsewhere(f.look); err != nil {
			f.looked = time.Time{} // again at the next write: nothing may go into a file that is no longer ours, or has no name
			return err
		}
	}
	if f.unfit {
		return f.adopt()
	}
	return nil
}

// look does what is to be done once a second.
func (f *File) look() error {
	if f.keeper.idle() {
		f.keeper.keep(f.opt.rule())
	}
	return f.follow()
}

// elsewhere calls f on another goroutine, and waits: it is deep, and the stack of whoever writes may be an idle client's ever after.
func elsewhere(f func() error) error {
	done := make(chan error)
	go func() { done <- f() }()
	return <-done
}

// cutBack cuts off what a failed write left, unless somebody has cut off more meanwhile, to make room: then Truncate would
// make the file longer again, by zeros.
func (f *File) cutBack() error {
	info, err := f.f.Stat()
	if err != nil {
		return f.opt.fail("stat", cause(err))
	}
	if info.Size() > f.torn {
		if err := f.f.Truncate(f.torn); err != nil {
			return f.opt.fail("truncate", cause(err))
		}
	}
	f.size, f.unfit = min(info.Size(), f.torn), info.Size() < f.torn
	f.torn = -1
	return nil
}

// follow reopens the file unless its name still stands for our descriptor, and takes over its size, which an outside
// copytruncate may have changed.
func (f *File) follow() error {
	ours, err := f.f.Stat()
	if err != nil {
		return f.opt.fail("stat", cause(err))
	}
	if names(f.opt.Path, f.f) {
		err := f.lock.renew()
		if _, held := errors.AsType[heldError](err); held {
			return f.opt.fail("write", err)
		}
		f.astray = nil // if it was, somebody has moved it back
		shorter := ours.Size() < f.size
		f.size = ours.Size()
		if shorter {
			return f.adopt() // whoever cut it need not have cut between lines
		}
		return nil
	}
	// The directory was there when the file was opened: whoever removed it since wants it empty, not gone.
	err = os.MkdirAll(filepath.Dir(f.opt.Path), 0o750)
	if err == nil {
		err = f.lock.renew()
	}
	old := f.f
	if err = f.opt.fail("open", cause(err)); err == nil {
		err = f.open()
	}
	if err != nil {
		return err
	}
	f.syncer.letGo(old)
	f.keeper.keep(f.opt.rule()) // it may have become a backup
	return f.adopt()
}
