package record

import (
	"bytes"
	"os"
	"time"
)

// fit returns the lines at the head of lines that may be written now; it rotates when the first of them does not fit.
func (f *File) fit(lines []byte) []byte {
	room := f.opt.MaxSize - f.size
	if int64(len(lines)) <= room {
		return lines
	}
	if room > 0 {
		if end := bytes.LastIndexByte(lines[:room], '\n'); end >= 0 {
			return lines[:end+1]
		}
	}
	switch {
	case f.size == 0: // one line, longer than a file may be
		return bytes.SplitAfterN(lines, []byte("\n"), 2)[0]
	case f.rotate():
		return f.fit(lines)
	}
	return lines
}

// rotate makes room by a new file. When it cannot, the old one is written on, and rotating is tried again a second later.
func (f *File) rotate() bool {
	if f.failing && time.Since(f.rotated) < time.Second {
		return false
	}
	err := f.rotateNow()
	if f.failing != (err != nil) {
		f.failing = err != nil
		f.opt.tell(Rotation, err)
	}
	return err == nil
}

// rotateNow moves the file aside, once it is on disk, and opens a new one.
func (f *File) rotateNow() error {
	if err := f.sync(); err != nil {
		f.doubt = err
		return err
	}
	// Backups are named to the millisecond: two in one, or in one that comes again as the clock was set back, would overwrite
	// the first.
	for time.Since(f.rotated) < 2*time.Millisecond || f.named() {
		time.Sleep(time.Millisecond)
	}
	err := f.rotator.Rotate()
	f.rotated = time.Now()
	_ = f.rotator.Close() // its descriptor of the new file, to which it has written nothing: it lacks O_APPEND
	if err != nil && names(f.opt.Path, f.f) {
		return f.opt.fail("rotate", err)
	}
	old := f.f
	if err := f.open(); err != nil {
		f.astray = err
		return err
	}
	f.keeper.keep(f.opt.rule())
	_ = f.f.Chmod(f.opt.Mode) // lumberjack made it, under the umask; it is ours, so this works
	f.syncer.letGo(old)
	return nil
}

// named says whether there is a backup with the name of this moment or of one right after it.
func (f *File) named() bool {
	for soon := range 4 {
		at := time.Now().Add(time.Duration(soon) * time.Millisecond)
		for _, packed := range []bool{false, true} {
			if _, err := os.Lstat(Backup{Of: f.opt.Path, At: at, Packed: packed}.Path()); err == nil {
				return true
			}
		}
	}
	return false
}
