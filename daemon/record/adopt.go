package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// adopt makes a file that somebody else has written fit for our lines.
func (f *File) adopt() error {
	f.unfit = f.size > 0
	if !f.unfit {
		return nil
	}
	in, err := f.opt.storage().open(f.opt.Path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			f.unfit = false
			return nil // a file that we may write and not read: nothing can be told of what is in it
		}
		return f.opt.fail("read", cause(err))
	}
	defer in.Close() // nothing was written
	if !sameFile(in, f.f) {
		f.looked = time.Time{} // it is followed by the next write; what is in this one says nothing about ours
		return f.opt.fail("read", errors.New("it was moved meanwhile"))
	}
	var first, last [1]byte
	if _, err := in.ReadAt(first[:], 0); err != nil {
		return f.opt.fail("read", cause(err))
	}
	if _, err := in.ReadAt(last[:], f.size-1); err != nil {
		return f.opt.fail("read", cause(err))
	}
	if last[0] != '\n' {
		if err := f.mend(in); err != nil {
			return err
		}
	}
	if f.size > 0 && (first[0] == '{') != (f.opt.Format == JSON) {
		if err := f.rotateNow(); err != nil {
			return err
		}
	}
	f.unfit = false
	return nil
}

// mend sees to it that nothing is glued to a last line that is not whole. The piece of a record is cut off: it would read as a
// record that says something else, and what it was of has not been acknowledged. What is no record is somebody else's, and kept.
func (f *File) mend(in io.ReaderAt) error {
	start, err := lastLine(in, f.size)
	if err != nil {
		return f.opt.fail("read", cause(err))
	}
	head, err := beginning(in, 0)
	if err != nil {
		return f.opt.fail("read", cause(err))
	}
	piece, err := beginning(in, start)
	if err != nil {
		return f.opt.fail("read", cause(err))
	}
	// Barcodes and other numbers are lines of other programs that are replaced by us, on the same file. None ends in zeros.
	zeros := len(piece) < pieceSize && int64(len(piece)) < f.size-start
	if ours := isPiece(head) && (start > 0 || zeros || len(piece) >= len("2026-")); (!ours || !isPiece(piece)) && len(piece) > 0 {
		f.opt.tell(TornLine, f.opt.fail("open", errors.New("its last line, which is no record, was not whole and has been ended")))
		_, err := f.append([]byte("\n"))
		return err
	}
	f.opt.tell(TornLine, f.opt.fail("open", fmt.Errorf("its last record was not whole, after a crash or a full disk: %d bytes were cut off", f.size-start)))
	if err := f.f.Truncate(start); err != nil {
		return f.opt.fail("truncate", cause(err))
	}
	f.size = start
	return nil
}

// pieceSize is how much of a line is looked at to tell a piece of a record.
const pieceSize = 40

// beginning is the first pieceSize bytes of the line at start, or what there is of them. Zeros at their end are left out: where the
// power went a file can be longer, by them, than what was written.
func beginning(in io.ReaderAt, start int64) ([]byte, error) {
	b := make([]byte, pieceSize)
	n, err := in.ReadAt(b, start)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return bytes.TrimRight(b[:n], "\x00"), nil
}

// isPiece says whether b could be the beginning of a record, as far as it goes.
func isPiece(b []byte) bool {
	for _, form := range []string{`{"time":"0000-00-00T00:00:00.000000Z"`, "0000-00-00T00:00:00.000000Z from ", "0000-00-00T00:00:00.000000Z open from ", "0000-00-00T00:00:00.000000Z close from "} {
		n := min(len(b), len(form))
		shape := bytes.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return '0'
			}
			return r
		}, b[:n])
		if string(shape) == form[:n] {
			return true
		}
	}
	return false
}

// lastLine returns where the last line of a file of that size begins.
func lastLine(in io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		start := max(0, end-int64(len(buf)))
		n, err := in.ReadAt(buf[:end-start], start)
		if int64(n) < end-start {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return start + int64(i) + 1, nil
		}
		end = start
	}
	return 0, nil
}
