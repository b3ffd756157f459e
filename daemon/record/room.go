package record

import "fmt"

// checkRoom says whether n bytes may be written without taking from others what MinFree leaves them. The disk is asked once a
// second, as others write to it too, and when our own share is used up.
func (f *File) checkRoom(n int) error {
	if f.opt.MinFree == 0 {
		return nil
	}
	if f.spare < int64(n) {
		free, err := f.f.room()
		if err != nil {
			return f.opt.fail("look for room for", cause(err))
		}
		f.spare = free - f.opt.MinFree
		if f.spare < int64(n) {
			return f.opt.fail("write", fmt.Errorf("%d bytes are free on its file system, too few for %d more with the %d that min_free leaves to others", free, n, f.opt.MinFree))
		}
	}
	f.spare -= int64(n)
	return nil
}

// LowerMinFree makes least hold as MinFree at once, where more does, and a Write that found too little room can go on: Reopen is
// called when nobody writes any more, and so could never help those who wait. undo makes hold what did.
func (f *File) LowerMinFree(least int64) (undo func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.opt.MinFree
	if least >= was {
		return func() {}
	}
	f.opt.MinFree, f.spare = least, 0
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.opt.MinFree, f.spare = was, 0
	}
}
