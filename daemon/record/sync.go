package record

import (
	"errors"
	"path/filepath"
	"time"
)

// When fdatasync(2) runs, as FileOptions.Sync has it; a positive one is how long after a write it follows at the latest.
const (
	// SyncAlways has Write return only once its lines are on disk.
	SyncAlways time.Duration = 0
	// SyncNever leaves it to the kernel, at the end of a file too.
	SyncNever time.Duration = -1
)

// strict says whether Write has to wait for the disk: always, or, where a sync may come later, since one has failed. Clients are
// then read no further than what is safe, so that a failing disk endangers the records of one interval and no more.
func (f *File) strict() bool {
	return f.opt.Sync == SyncAlways || f.opt.Sync > 0 && f.unsafe
}

// secure makes the n bytes that Write has written as safe as they have to be. It returns how many are.
//
// When fdatasync fails the kernel may have dropped the pages, and calls them clean: another one would succeed and prove nothing.
// So the lines are cut off again, back to where the file is known to be on disk, and count as not written: whoever writes them
// again makes new pages. Appending them anew instead would leave the place of the lost ones between good lines.
func (f *File) secure(n int, err error) (int, error) {
	switch {
	case f.opt.Sync == SyncNever || f.size == f.base:
		return n, err
	case f.doubt == nil && !f.strict():
		f.syncSoon()
		return n, err
	case f.doubt == nil:
		f.doubt = f.sync()
	}
	if f.doubt == nil {
		return n, err
	}
	n -= int(f.size - f.base)
	f.torn = f.base
	return n, errors.Join(err, f.doubt)
}

// sync has the file, and the name by which it is found, on disk.
func (f *File) sync() error {
	if f.opt.Sync == SyncNever {
		return nil
	}
	f.unsynced = time.Time{}
	err := f.syncName()
	if err == nil {
		err = f.fail("sync", cause(f.f.datasync()))
	}
	if f.synced(err); err == nil {
		f.base = f.size
	}
	return err
}

// syncName has the directory on disk when the file may have a name there that it has only in memory.
func (f *File) syncName() error {
	if !f.nameless {
		return nil
	}
	err := f.opt.storage().syncDir(filepath.Dir(f.opt.Path))
	f.nameless = err != nil
	return f.fail("sync directory of", cause(err))
}

// synced notes how a sync came back.
func (f *File) synced(err error) {
	f.unsafe = err != nil
	if f.told && err == nil {
		f.told = false
		f.tell(Syncing, nil)
	}
}

// tooLate tells of a sync that failed after its lines were let go.
func (f *File) tooLate(err error) {
	if err != nil && !f.told {
		f.told = true
		f.tell(Syncing, err)
	}
}

// syncSoon sees to it that what was just written is synced in time. A timer runs only while something is not.
func (f *File) syncSoon() {
	if f.unsynced.IsZero() {
		f.unsynced = time.Now()
	}
	if !f.timed {
		f.timed = true
		f.after(f.opt.Sync)
	}
}

// after has syncNow called so long from now.
func (f *File) after(wait time.Duration) {
	if f.timer == nil {
		f.timer = time.AfterFunc(wait, f.syncNow)
		return
	}
	f.timer.Reset(wait)
}

// syncNow is what the timer calls. What is written while the disk works is for the next time.
func (f *File) syncNow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f != nil && !f.unsynced.IsZero() {
		f.tooLate(f.syncAside())
	}
	f.timed = f.f != nil && !f.unsynced.IsZero() && f.opt.Sync > 0
	if f.timed {
		f.after(max(0, f.opt.Sync-time.Since(f.unsynced)))
	}
}

// syncAside is sync, and lets others write meanwhile. Where Write syncs too it does not: of two at a time on one descriptor only
// one is told of an error.
func (f *File) syncAside() error {
	if f.strict() || f.nameless {
		return f.sync()
	}
	out := f.f
	f.unsynced = time.Time{}
	f.mu.Unlock()
	err := out.datasync()
	f.mu.Lock()
	err = f.fail("sync", cause(err))
	f.synced(err)
	return err
}

// letGo closes a file that is written no more, after having it and the name of its successor on disk.
func (f *File) letGo(old handle) {
	if f.opt.Sync != SyncNever {
		err := f.fail("sync", cause(old.datasync()))
		f.unsafe = f.unsafe || err != nil
		f.tooLate(err)
		_ = f.syncName() // it is owed then, and tried again with the next sync
	}
	_ = old.Close() // what was written to it is on disk
}
