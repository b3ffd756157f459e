package spool

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/recordfile"
)

// entry is a file in a directory, as far as it is known from its beginning and its end.
type entry struct {
	name string
	id   identity
	// rotated reports that the daemon has rotated it: nobody writes to it any more, and its
	// name is for good.
	rotated bool
	at      time.Time // of that rotation
	// number is that of a program which counts the files that it has rotated, such as
	// logrotate: the newest has the smallest. 0: it has none.
	number int
	packed bool // compressed with gzip
	mtime  time.Time
	// settled reports that another change would have another mtime.
	settled bool
	stored  int64 // bytes on disk
	// size is how many bytes there are uncompressed, and ends is how many of them are whole
	// lines.
	size, ends int64
	mark       recordfile.Mark // "": there is no first line yet
	first      time.Time       // of its first record; zero if that is none
	err        error           // why nothing more is known
}

// compare orders files by when they were begun. Numbers tell that, also if the clock was set
// meanwhile. A copy was written later than that, and the clock of a file system is coarse, so the
// times of their records count; of others, when they were written.
func (e entry) compare(f entry) int {
	if e.number > 0 && f.number > 0 {
		return cmp.Compare(f.number, e.number)
	}
	if e.first.IsZero() || f.first.IsZero() {
		return e.mtime.Compare(f.mtime)
	}
	return cmp.Or(e.first.Compare(f.first), e.mtime.Compare(f.mtime))
}

// identity tells a file from others, whatever its name.
type identity struct{ device, inode uint64 }

func identify(info fs.FileInfo) identity {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}
	}
	return identity{uint64(st.Dev), st.Ino} // Dev has 32 bits on some machines
}

// at returns the identity of the file with a name, which is no link; the zero one if there is none.
func at(name string) identity {
	info, err := os.Lstat(name)
	if err != nil {
		return identity{}
	}
	return identify(info)
}

var (
	errLink    = errors.New("is a symbolic link, want the file itself")
	errSpecial = errors.New("is not a regular file")
)

// openRegular opens a regular file. A FIFO cannot hold it up.
func openRegular(name string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, nil, &fs.PathError{Op: "open", Path: name, Err: errLink}
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errSpecial}
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// probe returns what is to know of the file with a name.
func probe(name string) entry {
	f, info, err := openRegular(name)
	if err != nil {
		return entry{name: name, err: err}
	}
	defer f.Close() // nothing was written
	return describe(name, f, info)
}

// describe returns what is to know of an open file.
func describe(name string, f *os.File, info fs.FileInfo) entry {
	e := entry{name: name, id: identify(info), mtime: info.ModTime(), stored: info.Size(), size: info.Size()}
	var head []byte
	if e.packed, head, e.err = beginning(f); e.err != nil {
		if e.packed {
			e.err = damage(e.err)
		}
		e.err = &fs.PathError{Op: "read", Path: name, Err: e.err}
		return e
	}
	e.mark, e.err = recordfile.ReadMark(bytes.NewReader(head))
	e.first = timeOf(head)
	if e.packed {
		e.size = unpackedSize(f, e.stored)
		e.ends = e.size
	} else if e.err == nil {
		e.ends, e.err = lineEnd(f, e.size)
	}
	return e
}

// markOf returns the mark of an open file that is not compressed.
func markOf(f *os.File) (recordfile.Mark, error) {
	return recordfile.ReadMark(io.NewSectionReader(f, 0, headSize))
}

// headSize is more than what a mark is made of.
const headSize = 1 << 10

// beginning returns how a file begins, uncompressed.
func beginning(f *os.File) (packed bool, head []byte, err error) {
	head = make([]byte, headSize)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return false, nil, err
	}
	if !bytes.HasPrefix(head[:n], []byte("\x1f\x8b")) {
		return false, head[:n], nil
	}
	z, err := gzip.NewReader(io.NewSectionReader(f, 0, 1<<62))
	if err != nil {
		return true, nil, err
	}
	n, err = io.ReadFull(z, head)
	if err == io.EOF || err == io.ErrUnexpectedEOF && whole(z) {
		err = nil
	}
	return true, head[:n], err
}

// whole reports whether z has come to its end, not to that of a file that was cut.
func whole(z *gzip.Reader) bool {
	_, err := z.Read(make([]byte, 1))
	return err == io.EOF
}

// lineEnd returns where the last whole line of a file with the given size ends.
func lineEnd(f *os.File, size int64) (int64, error) {
	buf := make([]byte, 1)
	for end := size; end > 0; {
		start := max(0, end-int64(len(buf)))
		n, err := f.ReadAt(buf[:end-start], start)
		if err != nil && err != io.EOF {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return start + int64(i) + 1, nil
		}
		end = start
		if len(buf) == 1 {
			buf = make([]byte, 64<<10)
		}
	}
	return 0, nil
}

// timeOf returns the time of the record that a line begins with; the zero time if it is none.
func timeOf(line []byte) time.Time {
	const before, form = `{"time":"`, "2006-01-02T15:04:05.000000Z"
	rest, ok := bytes.CutPrefix(line, []byte(before))
	if !ok || len(rest) < len(form) {
		return time.Time{}
	}
	t, err := time.Parse(form, string(rest[:len(form)]))
	if err != nil {
		return time.Time{}
	}
	return t
}
