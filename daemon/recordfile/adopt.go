package recordfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/record"
)

// adopt prepares a file for our lines that others, or a process before us, have written.
func (f *File) adopt() error {
	f.out.needsAdopt = f.out.size > 0
	if !f.out.needsAdopt {
		return nil
	}
	in, err := f.opt.storage().open(f.opt.Path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			f.out.needsAdopt = false
			return nil // we may write the file, but not read it: its content is unknown
		}
		return f.opt.fail("read", cause(err))
	}
	defer in.Close() // nothing was written
	if !sameFile(in, f.out.handle) {
		// The next write follows; the content of this file says nothing about ours.
		f.out.looked = time.Time{}
		return f.opt.fail("read", errors.New("it was moved meanwhile"))
	}
	var first, last [1]byte
	if _, err := in.ReadAt(first[:], 0); err != nil {
		return f.opt.fail("read", cause(err))
	}
	if _, err := in.ReadAt(last[:], f.out.size-1); err != nil {
		return f.opt.fail("read", cause(err))
	}
	if last[0] != '\n' {
		if err := f.mend(in); err != nil {
			return err
		}
	}
	if f.out.size > 0 && (first[0] == '{') != (f.opt.Format == record.JSON) {
		if err := f.rotateNow(); err != nil {
			return err
		}
	}
	f.out.needsAdopt = false
	return nil
}

// mend repairs a last line that is not whole, so that nothing is appended to it. Part of a record
// is cut off: it could be read as a different record, and the whole record was not acknowledged.
// Any other text belongs to another program, and the line is ended.
func (f *File) mend(in io.ReaderAt) error {
	start, err := lastLine(in, f.out.size)
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
	// Lines of numbers, such as barcodes, come from other programs that used the same file
	// before. None of them ends in zero bytes.
	zeros := len(piece) < pieceSize && int64(len(piece)) < f.out.size-start
	ours := isPiece(head) && (start > 0 || zeros || len(piece) >= len("2026-"))
	if (!ours || !isPiece(piece)) && len(piece) > 0 {
		f.opt.tell(TornLine, f.opt.fail("open",
			errors.New("its last line, which is no record, was not whole and has been ended")))
		_, err := f.append([]byte("\n"))
		return err
	}
	f.opt.tell(TornLine, f.opt.fail("open", fmt.Errorf("its last record was not whole, "+
		"after a crash or a full disk: %d bytes were cut off", f.out.size-start)))
	if err := f.out.Truncate(start); err != nil {
		return f.opt.fail("truncate", cause(err))
	}
	f.out.size = start
	return nil
}

// pieceSize is how many bytes of a line are compared with the form of records.
const pieceSize = 40

// beginning returns up to pieceSize bytes of the line at start, without zero bytes at their end:
// after a power failure a file may end in zeros that were never written.
func beginning(in io.ReaderAt, start int64) ([]byte, error) {
	b := make([]byte, pieceSize)
	n, err := in.ReadAt(b, start)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return bytes.TrimRight(b[:n], "\x00"), nil
}

// recordForms are how records begin, with 0 for each digit.
var recordForms = []string{
	`{"time":"0000-00-00T00:00:00.000000Z"`,
	"0000-00-00T00:00:00.000000Z from ",
	"0000-00-00T00:00:00.000000Z open from ",
	"0000-00-00T00:00:00.000000Z close from ",
}

// isPiece reports whether b could be the beginning of a record.
func isPiece(b []byte) bool {
	for _, form := range recordForms {
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

// lastLine returns the offset of the last line of a file with the given size.
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
