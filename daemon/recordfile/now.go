package recordfile

import (
	"io/fs"
	"time"
)

// Rotate rotates the file now, whatever its size, and reports whether it has: an empty file stays.
// After an error lines still go to the file.
func (f *File) Rotate() (rotated bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.out.handle == nil {
		return false, f.opt.fail("rotate", fs.ErrClosed)
	}
	// A file that was moved away is made again first.
	f.out.looked = time.Time{}
	if err := f.prepare(); err != nil {
		return false, err
	}
	if f.out.size == 0 {
		return false, nil
	}
	if err := f.rotateNow(); err != nil {
		return false, err
	}
	return true, nil
}
