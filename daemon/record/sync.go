package record

import (
	"errors"
	"path/filepath"
	"sync"
	"time"
)

// secure makes the n bytes that Write has written as safe as they have to be. It returns how many are.
//
// When fdatasync fails the kernel may have dropped the pages, and calls them clean: another one would succeed and prove nothing.
// So the lines are cut off again, back to where the file is known to be on disk, and count as not written: whoever writes them
// again makes new pages. Appending them anew instead would leave the place of the lost ones between good lines.
func (f *File) secure(n int, err error) (int, error) {
	switch {
	case f.opt.Sync == SyncNever || f.size == f.base && !f.owed:
		return n, err
	case f.doubt == nil && !f.syncer.strict():
		f.owed = false // that of what follows serves it too
		f.syncer.soon()
		return n, err
	case f.doubt == nil:
		f.doubt = f.sync()
	}
	if f.doubt == nil {
		return n, err
	}
	f.journal.unwrite(int(f.size-f.base), f.base)
	n -= int(f.size - f.base)
	f.torn = f.base
	return n, errors.Join(err, f.doubt)
}

// sync has the file, and the name by which it is found, on disk, unless Sync says never.
func (f *File) sync() error {
	err := f.syncer.sync(f.f)
	if err == nil {
		f.base, f.owed = f.size, false
	}
	return err
}

// syncDue is what the syncer's timer calls.
func (f *File) syncDue() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f != nil {
		f.syncer.run(f.f, &f.mu)
	}
}

// syncer has what is written to a File on disk in time, and tells when it cannot. Its methods are called with the File locked.
type syncer struct {
	opt      *FileOptions // that hold for the File now
	due      func()       // what the timer calls, without the lock
	timer    *time.Timer
	timed    bool      // it will call, or does
	nameless bool      // the directory may not be on disk
	unsynced time.Time // when the first line was written that no sync has been begun for; zero: there is none
	unsafe   bool      // the last sync failed
	told     bool      // and it was told
}

// strict says whether Write has to wait for the disk: always, or, where a sync may come later, since one has failed. Clients are
// then read no further than what is safe, so that a failing disk endangers the records of one interval and no more.
func (s *syncer) strict() bool {
	return s.opt.Sync == SyncAlways || s.opt.Sync > 0 && s.unsafe
}

// sync has out, and the name by which it is found, on disk, unless Sync says never.
func (s *syncer) sync(out handle) error {
	if s.opt.Sync == SyncNever {
		return nil
	}
	s.unsynced = time.Time{}
	err := s.syncName()
	if err == nil {
		err = s.datasync(out)
	}
	s.came(err)
	return err
}

func (s *syncer) datasync(out handle) error { return s.opt.fail("sync", cause(out.datasync())) }

// syncName has the directory on disk when the file may have a name there that it has only in memory.
func (s *syncer) syncName() error {
	if !s.nameless {
		return nil
	}
	err := s.opt.storage().syncDir(filepath.Dir(s.opt.Path))
	s.nameless = err != nil
	return s.opt.fail("sync directory of", cause(err))
}

// came notes how a sync came back.
func (s *syncer) came(err error) {
	s.unsafe = err != nil
	if s.told && err == nil {
		s.told = false
		s.opt.tell(Syncing, nil)
	}
}

// tooLate tells of a sync that failed after its lines were let go.
func (s *syncer) tooLate(err error) {
	if err != nil && !s.told {
		s.told = true
		s.opt.tell(Syncing, err)
	}
}

// soon sees to it that what was just written is synced in time. The timer runs only while something is not.
func (s *syncer) soon() {
	if s.unsynced.IsZero() {
		s.unsynced = time.Now()
	}
	if !s.timed {
		s.timed = true
		s.after(s.opt.Sync)
	}
}

// after has due called so long from now.
func (s *syncer) after(wait time.Duration) {
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.due)
		return
	}
	s.timer.Reset(wait)
}

// run syncs what is due, and has due called again for what was written meanwhile.
func (s *syncer) run(out handle, mu sync.Locker) {
	if !s.unsynced.IsZero() {
		s.tooLate(s.aside(out, mu))
	}
	s.timed = !s.unsynced.IsZero() && s.opt.Sync > 0
	if s.timed {
		s.after(max(0, s.opt.Sync-time.Since(s.unsynced)))
	}
}

// aside is sync, and unlocks mu for others to write meanwhile. Where Write syncs too it does not: of two at a time on one descriptor
// only one is told of an error.
func (s *syncer) aside(out handle, mu sync.Locker) error {
	if s.strict() || s.nameless {
		return s.sync(out)
	}
	s.unsynced = time.Time{}
	mu.Unlock()
	err := out.datasync()
	mu.Lock()
	err = s.opt.fail("sync", cause(err))
	s.came(err)
	return err
}

// letGo closes a file that is written no more, after having it and the name of its successor on disk.
func (s *syncer) letGo(old handle) {
	if s.opt.Sync != SyncNever {
		err := s.datasync(old)
		s.unsafe = s.unsafe || err != nil
		s.tooLate(err)
		_ = s.syncName() // it is owed then, and tried again with the next sync
	}
	_ = old.Close() // what was written to it is on disk
}

// stop has the timer call no more, but for a call that has begun.
func (s *syncer) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}
