package recordfile

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tcpmux/daemon/processors"
)

// sync syncs the file and its name, unless Sync is SyncNever.
func (f *File) sync() error {
	err := f.syncer.sync(f.out.handle)
	if err == nil {
		f.attempt.base, f.syncer.owed = f.out.size, false
	}
	return err
}

// syncDue is called by the timer of the syncer.
func (f *File) syncDue() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.out.handle == nil {
		f.syncer.timed = false
		return
	}
	f.syncer.run(f.out.handle, &f.mu)
}

// syncer syncs a File in time, and reports errors. Its methods are called with the File locked.
type syncer struct {
	opt      *Options // of the File
	due      func()   // called by the timer, without the lock
	timer    *time.Timer
	timed    bool      // the timer is running, or due is being called
	nameless bool      // the directory may not be on disk
	unsynced time.Time // when the first line was written that no sync covers yet; zero: none
	unsafe   bool      // the last sync failed
	told     bool      // that was reported
	owed     bool      // lines of the previous process may not be on disk
}

// sync syncs out and its name, unless Sync is SyncNever.
func (s *syncer) sync(out handle) error {
	if s.opt.Sync == SyncNever {
		return nil
	}
	s.unsynced = time.Time{}
	err := s.syncName()
	if err == nil {
		err = s.datasync(out)
	}
	s.note(err)
	return err
}

func (s *syncer) datasync(out handle) error {
	return s.opt.fail("sync", cause(s.opt.counted().datasync(out)))
}

// syncName syncs the directory if the name of the file may not be on disk.
func (s *syncer) syncName() error {
	if !s.nameless {
		return nil
	}
	err := s.opt.storage().syncDir(filepath.Dir(s.opt.Path))
	s.nameless = err != nil
	return s.opt.fail("sync directory of", cause(err))
}

// note notes the result of a sync.
func (s *syncer) note(err error) {
	s.unsafe = err != nil
	if s.told && err == nil {
		s.told = false
		s.opt.tell(Syncing, nil)
	}
}

// tooLate reports a sync that failed after its lines were committed.
func (s *syncer) tooLate(err error) {
	if err != nil && !s.told {
		s.told = true
		s.opt.tell(Syncing, err)
	}
}

// soon schedules a sync for what was just written. The timer runs only while something is not
// synced.
func (s *syncer) soon() {
	if s.unsynced.IsZero() {
		s.unsynced = time.Now()
	}
	if !s.timed {
		s.timed = true
		s.after(s.opt.Sync)
	}
}

// after makes the timer call due after wait.
func (s *syncer) after(wait time.Duration) {
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.due)
		return
	}
	s.timer.Reset(wait)
}

// run syncs what is due, and schedules a sync for what was written meanwhile.
func (s *syncer) run(out handle, mu sync.Locker) {
	if !s.unsynced.IsZero() {
		s.tooLate(s.aside(out, mu))
	}
	s.timed = !s.unsynced.IsZero() && s.opt.Sync > 0
	if s.timed {
		s.after(max(0, s.opt.Sync-time.Since(s.unsynced)))
	}
}

// aside is sync that unlocks mu meanwhile, so that lines can be written. It keeps the lock if Write
// syncs too, because of two concurrent syncs of a descriptor only one returns an error.
func (s *syncer) aside(out handle, mu sync.Locker) error {
	if s.strict() || s.nameless {
		return s.sync(out)
	}
	s.unsynced = time.Time{}
	counts := s.opt.counted() // the options may change meanwhile
	mu.Unlock()
	release := processors.Occupy()
	err := counts.datasync(out)
	release()
	mu.Lock()
	if errors.Is(err, os.ErrClosed) { // it was synced before that
		return nil
	}
	err = s.opt.fail("sync", cause(err))
	s.note(err)
	return err
}

// letGo closes a file that is no longer written, after syncing it and the name of its successor.
func (s *syncer) letGo(old handle) {
	if s.opt.Sync != SyncNever {
		err := s.datasync(old)
		s.unsafe = s.unsafe || err != nil
		s.tooLate(err)
		_ = s.syncName() // the next sync tries it again
	}
	_ = old.Close() // its lines are on disk
}

// stop stops the timer. A call of due that has begun goes on.
func (s *syncer) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}
