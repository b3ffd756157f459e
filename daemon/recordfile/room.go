package recordfile

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
