package recordfile

import "io/fs"

// Tick rotates the file if its period is over, and looks after rotated files that age or are
// delivered, also if nothing is written. Call it about once a second. It returns at once: a
// rotation goes on afterwards, and while the file is being written there is none, as the next write
// rotates it too.
func (f *File) Tick() {
	if !f.mu.TryLock() {
		return
	}
	if f.out.handle != nil {
		f.keeper.idle(f.opt.rule())
	}
	now := f.opt.now()
	if f.out.handle != nil && f.opt.Rotate.astray(f.rotation.due, now) {
		f.rotation.due = f.opt.Rotate.next(now)
	}
	if f.out.handle == nil || now.Before(f.rotation.due) {
		f.mu.Unlock()
		return
	}
	go func() { // the disk may hang
		defer f.mu.Unlock()
		_ = f.prepare() // a write reports it
	}()
}

// turn rotates the file if its period is over, or begins the period of an empty file. If the
// rotation fails, lines still go to the file, and it is tried again after a second. turn fails only
// if nothing may be written to the file any more.
func (f *File) turn() error {
	now := f.opt.now()
	if now.Before(f.rotation.due) {
		return nil // another file was found under the name
	}
	if f.out.size == 0 {
		f.rotation.due = f.opt.Rotate.next(now)
		return nil
	}
	f.attempt.syncErr = nil
	if !f.rotate() {
		// Lines that were written before and not synced may be lost.
		f.syncer.tooLate(f.attempt.syncErr)
	}
	return f.out.renamedAway
}

// schedule sets when the period of the open file ends. A file with lines belongs to the period in
// which it was last written: a daemon that was down at the end of that rotates it when it starts.
func (f *File) schedule(info fs.FileInfo) {
	began := f.opt.now()
	if info.Size() > 0 {
		began = info.ModTime().In(began.Location())
	}
	f.rotation.due = f.opt.Rotate.next(began)
}
