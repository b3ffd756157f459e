package record

import "fmt"

// checkRoom returns an error if fewer than MinFree bytes would be free after n more bytes. It asks
// the disk once a second, because others write to it too, and when the space that it found is used
// up.
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
			return f.opt.fail("write", fmt.Errorf("%d bytes are free on its file system, "+
				"too few for %d more with the %d that min_free leaves to others", free, n, f.opt.MinFree))
		}
	}
	f.spare -= int64(n)
	return nil
}

// LowerMinFree lowers MinFree to least at once, so that a Write that found too little space can
// continue. Reopen cannot help such a Write, because it is called when all writes have ended. undo
// restores the previous value.
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
