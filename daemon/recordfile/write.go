package recordfile

import (
	"bytes"
	"errors"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// attempt is what a call of Write has to undo if its lines cannot be synced.
type attempt struct {
	base    int64 // the size before the call; after a sync, the size that is on disk
	syncErr error // the error of a sync
	began   int64 // Unix nanoseconds
}

// Write appends lines. It returns how many bytes are in the file permanently, and with SyncAlways
// on disk. After an error these are whole lines, and the others have to be written again.
func (f *File) Write(lines []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.out.handle == nil {
		return f.toStdout(lines)
	}
	if err := f.prepare(); err != nil {
		return 0, err
	}
	if err := f.checkRoom(len(lines)); err != nil {
		return 0, err
	}
	f.attempt.base, f.attempt.syncErr = f.out.size, nil
	for n < len(lines) && err == nil {
		part := f.fit(lines[n:])
		if err := f.out.renamedAway; err != nil {
			return n, err // all n bytes are in the old file, which is on disk
		}
		m := 0
		if f.journal != nil {
			f.journal.Mark(f.out.id.device, f.out.id.inode, f.out.size)
		}
		m, err = f.append(part)
		if f.journal != nil {
			f.journal.Wrote(m)
		}
		n += m
		if err != nil && f.rotateFull(err) {
			err = nil
		}
	}
	n, err = f.secure(n, err)
	if n > 0 {
		c := f.opt.counted()
		c.written.Store(f.attempt.began)
		c.WriteSize.Observe(int64(n))
	}
	if f.out.torn >= 0 {
		_ = f.cutBack() // the next write tries it again
	}
	return n, err
}

// prepare makes the file ready for a write. It truncates what a failed write left, opens the file
// again if it was moved or deleted, and rotates it if its period is over. Whether it was moved is
// checked at most once a second, because that is a system call.
func (f *File) prepare() error {
	if f.out.torn >= 0 {
		if err := f.cutBack(); err != nil {
			return err
		}
	}
	now := f.opt.now()
	f.attempt.began = now.UnixNano()
	if f.out.renamedAway != nil || now.Sub(f.out.looked) >= time.Second || now.Before(f.out.looked) {
		f.out.looked, f.spare = now, 0
		if err := elsewhere(f.everySecond); err != nil {
			// The next write checks again: nothing may be written to a file that is no
			// longer ours, or has no name.
			f.out.looked = time.Time{}
			return err
		}
	}
	if f.out.needsAdopt {
		if err := f.adopt(); err != nil {
			return err
		}
	}
	if now.Before(f.rotation.due) {
		return nil
	}
	return elsewhere(f.turn)
}

// checkRoom returns an error if fewer than MinFree bytes would be free after n more bytes. It asks
// the disk once a second, because others write to it too, and when the space that it found is used
// up.
func (f *File) checkRoom(n int) error {
	if f.opt.MinFree == 0 {
		return nil
	}
	if f.spare < int64(n) {
		free, err := f.out.room()
		if err != nil {
			return f.opt.fail("look for room for", cause(err))
		}
		f.spare = free - f.opt.MinFree
		if f.spare < int64(n) {
			return f.opt.fail("write", &RoomError{Free: free, Need: n, MinFree: f.opt.MinFree})
		}
	}
	f.spare -= int64(n)
	return nil
}

// fit returns the lines at the head of lines that may be written now. It rotates the file if the
// first line does not fit.
func (f *File) fit(lines []byte) []byte {
	room := f.opt.MaxSize - f.out.size
	if int64(len(lines)) <= room {
		return lines
	}
	if room > 0 {
		if end := bytes.LastIndexByte(lines[:room], '\n'); end >= 0 {
			return lines[:end+1]
		}
	}
	switch {
	case f.out.size == 0: // a single line that is longer than MaxSize
		return bytes.SplitAfterN(lines, []byte("\n"), 2)[0]
	case f.rotate():
		return f.fit(lines)
	}
	return lines
}

// append writes lines. If the write fails in the middle of a line, the file is truncated
// afterwards, or before the next write.
func (f *File) append(lines []byte) (int, error) {
	n, err := f.out.Write(lines)
	if err != nil {
		return f.failed(lines[:n], err)
	}
	f.out.size += int64(n)
	return n, nil
}

// failed returns how many bytes of a failed write are whole lines, and notes where to truncate the
// file.
func (f *File) failed(written []byte, err error) (int, error) {
	n, good := len(written), bytes.LastIndexByte(written, '\n')+1
	if n > good {
		// The size is not computed, because copytruncate from outside may have changed it.
		info, serr := f.out.Stat()
		if serr != nil {
			f.out.torn = f.out.size // cutBack asks again
			return 0, f.opt.fail("stat", cause(serr))
		}
		f.out.torn = info.Size() - int64(n-good)
	}
	f.out.size += int64(good)
	return good, f.opt.fail("write", cause(err))
}

// secure syncs the n bytes that Write has written, as far as Options.Sync requires, and returns
// how many of them count as written.
//
// If fdatasync fails, the kernel may have dropped the pages and marked them clean: another
// fdatasync would succeed and prove nothing. So the file is truncated to the size that is known to
// be on disk, and the lines count as not written: writing them again makes new pages. If they were
// appended again instead, the lost ones would leave a gap between good lines.
func (f *File) secure(n int, err error) (int, error) {
	switch {
	case f.opt.Sync == SyncNever || f.out.size == f.attempt.base && !f.syncer.owed:
		return n, err
	case f.attempt.syncErr == nil && !f.syncer.strict():
		f.syncer.owed = false // the next sync includes it
		if !f.syncer.timed || f.syncer.unsynced.IsZero() {
			f.syncer.soon()
		}
		return n, err
	}
	return f.secureNow(n, err)
}

// secureNow is secure where the sync cannot wait, or was tried. It stands by itself because it
// needs more stack.
func (f *File) secureNow(n int, err error) (int, error) {
	if f.attempt.syncErr == nil {
		f.attempt.syncErr = f.sync()
	}
	if f.attempt.syncErr == nil {
		return n, err
	}
	undone := int(f.out.size - f.attempt.base)
	if f.journal != nil {
		f.journal.Unwrite(undone, f.attempt.base)
	}
	n -= undone
	f.out.torn = f.attempt.base
	return n, errors.Join(err, f.attempt.syncErr)
}

// strict reports whether Write has to wait for the disk: with SyncAlways, and after a sync has
// failed. In the latter case clients are not read further than what is safe, so that a failing disk
// endangers only the records of one interval.
func (s *syncer) strict() bool {
	return s.opt.Sync == SyncAlways || s.opt.Sync > 0 && s.unsafe
}

// Write calls write(2) until everything is written. A record file is in no poller, and is not
// closed during a write, so it does not need os.File.Write. That would need more stack, which a
// client's goroutine would keep while it is idle.
func (f *openFile) Write(b []byte) (n int, err error) {
	for n < len(b) {
		m, err := unix.Write(f.fd, b[n:])
		n += max(m, 0)
		switch {
		case err != nil && err != unix.EINTR:
			return n, err
		case m == 0:
			return n, io.ErrUnexpectedEOF
		}
	}
	return n, nil
}
