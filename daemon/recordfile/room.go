package recordfile

import "fmt"

// RoomError reports that a write would leave less than MinFree bytes free.
type RoomError struct {
	Free    int64 // bytes on the file system
	Need    int   // bytes to write
	MinFree int64
}

// Error has all three sizes.
func (e *RoomError) Error() string {
	return fmt.Sprintf("%d bytes are free on its file system, too few for %d more with the %d that min_free leaves to others",
		e.Free, e.Need, e.MinFree)
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
