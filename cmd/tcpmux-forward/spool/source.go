package spool

import (
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// settle is how long bytes must have been in a file that is written to. The daemon cuts
	// back at once what a failed write has left.
	settle = 20 * time.Millisecond
	// syncEvery is how often a file is synced at most.
	syncEvery = 50 * time.Millisecond
	// syncRetry is how long after a failed sync the next one is tried.
	syncRetry = time.Second
)

// source is an open file. It gives out only what was synced.
type source struct {
	entry
	file *os.File
	z    *unpacker // nil: the file is not compressed
	// finished reports that nobody writes to the file any more.
	finished bool
	// failed is set if the last look has found something wrong, which stays until somebody has
	// helped.
	failed bool
	// durable is how many bytes of the file on disk are there for good.
	durable int64
	// sync is under way, or waits to be confirmed; nil: none.
	sync     *syncing
	nextSync time.Time
	// syncErr is what the last sync has returned.
	syncErr error
}

// syncing is a call of fdatasync(2).
type syncing struct {
	size     int64     // of the file before it began
	at       time.Time // when it had that size
	finished bool      // nobody wrote to the file any more
	done     chan struct{}
	err      error // once done is closed
}

func (c *syncing) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// ready returns when the result counts, once the sync is over.
func (c *syncing) ready() time.Time {
	if c.finished || c.err != nil {
		return c.at
	}
	return c.at.Add(settle)
}

// datasync writes the content of a file to disk.
func datasync(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	err = unix.EINTR
	for err == unix.EINTR {
		if cerr := raw.Control(func(fd uintptr) { err = unix.Fdatasync(int(fd)) }); cerr != nil {
			return cerr
		}
	}
	if err == unix.EROFS || err == unix.EINVAL || err == unix.ENOSYS {
		return nil // there is nothing to be written, or no way to
	}
	return os.NewSyscallError("fdatasync", err)
}

// errCut reports that a file is not the one that it was, or shorter than what was read of it.
var errCut = errors.New("the file was truncated")

// refresh looks at the file again: how long it is, and how much of it is durable. begin starts a
// sync.
func (f *source) refresh(now time.Time, offset int64, begin func(*os.File, *syncing)) error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	changed := f.failed || info.Size() != f.stored || !info.ModTime().Equal(f.mtime)
	f.stored, f.mtime, f.failed = info.Size(), info.ModTime(), false
	if !f.packed {
		f.size = f.stored
	}
	if changed && f.z == nil {
		mark, err := markOf(f.file)
		if err == nil && (mark != f.mark || f.size < offset && !f.finished) {
			err = errCut
		}
		if err != nil {
			f.failed = true
			return err
		}
		f.durable = min(f.durable, f.size)
	}
	if err := f.confirm(now); err != nil {
		return err
	}
	if f.sync == nil && f.stored > f.durable && !now.Before(f.nextSync) {
		f.sync = &syncing{size: f.stored, at: now, finished: f.finished, done: make(chan struct{})}
		f.nextSync = now.Add(syncEvery)
		begin(f.file, f.sync)
	}
	return nil
}

// confirm takes the result of a sync. What was synced counts if it is still there a moment later.
func (f *source) confirm(now time.Time) error {
	c := f.sync
	switch {
	case !f.confirmable(now):
	case c.err != nil:
		f.sync, f.syncErr, f.nextSync = nil, c.err, now.Add(syncRetry)
		return c.err
	case f.stored < c.size:
		f.sync, f.syncErr = nil, nil
	default:
		f.sync, f.syncErr, f.durable = nil, nil, max(f.durable, c.size)
	}
	return nil
}

// confirmable reports whether confirm can take the result of a sync.
func (f *source) confirmable(now time.Time) bool {
	return f.sync != nil && f.sync.over() && !now.Before(f.sync.ready())
}

// unsynced returns why the file is not durable, if the last sync has failed. The next one may take
// long, and until it ends nothing is better.
func (f *source) unsynced() error {
	if f == nil || f.stored <= f.durable {
		return nil
	}
	return f.syncErr
}

// due returns when refresh can have something new; the zero time if only the writer knows.
func (f *source) due() time.Time {
	switch {
	case f.sync != nil && f.sync.over():
		return f.sync.ready()
	case f.sync == nil && f.stored > f.durable:
		return f.nextSync
	}
	return time.Time{}
}

// limit returns up to where the file may be read.
func (f *source) limit() int64 {
	switch {
	case f.z == nil:
		return f.durable
	case f.durable == f.stored:
		return math.MaxInt64
	}
	return 0
}

// complete reports whether all of the file may be read, and nothing comes to it any more.
func (f *source) complete() bool { return f.finished && f.durable >= f.stored && f.sync == nil }

// read reads what follows offset, of the uncompressed file. It returns io.EOF where the file ends
// or what is durable. Of a compressed file, offset must be where the last read ended, or hold has
// put it.
func (f *source) read(p []byte, offset int64) (int, error) {
	if f.z != nil {
		n, err := f.z.read(p, offset)
		if err != nil && err != io.EOF && err != errSkipping {
			f.z.damaged = true
			err = fmt.Errorf("read record file %q, uncompressed at offset %d: %w", f.name, offset, damage(err))
		}
		return n, err
	}
	if offset >= f.durable {
		return 0, io.EOF
	}
	n, err := f.file.ReadAt(p[:min(int64(len(p)), f.durable-offset)], offset)
	if n == 0 && err == io.EOF {
		return 0, errCut
	}
	if n > 0 {
		err = nil
	}
	return n, err
}

// hold takes back what was read last and not used.
func (f *source) hold(tail []byte) {
	if f.z != nil {
		f.z.held = append(append([]byte(nil), tail...), f.z.held...)
	}
}

// damage adds the next step to an error of reading a compressed file, if its content is wrong.
func damage(err error) error {
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	if corrupt || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		return fmt.Errorf("%w: it is damaged and holds up what is behind it: restore it, or move it away while tcpmux-forward runs", err)
	}
	return err
}

func (f *source) close() error { return f.file.Close() }

// unpacker reads a compressed file.
type unpacker struct {
	z    *gzip.Reader // nil: its end was read
	pos  int64        // of what comes next, behind held
	held []byte       // what is given out first
	// damaged reports that a read has failed, and so does each that follows.
	damaged bool
}

func newUnpacker(f *os.File) (*unpacker, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(f)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &unpacker{z: z}, err
}

// skipAtOnce is how many bytes are skipped by one read.
const skipAtOnce = 4 << 20

// errSkipping reports that there is more to skip.
var errSkipping = errors.New("more is to be skipped")

// read is source.read. It skips what is before offset, which can take many calls: all but the last
// return errSkipping.
func (u *unpacker) read(p []byte, offset int64) (n int, err error) {
	for u.pos-int64(len(u.held)) < offset {
		if len(u.held) > 0 {
			skip := min(int64(len(u.held)), offset-u.pos+int64(len(u.held)))
			u.held = u.held[skip:]
			continue
		}
		if u.z == nil {
			return 0, io.EOF
		}
		skipped, err := io.CopyN(io.Discard, u.z, min(skipAtOnce, offset-u.pos))
		if u.pos += skipped; err == nil && u.pos < offset {
			err = errSkipping
		}
		if err != nil {
			return 0, err
		}
	}
	if n = copy(p, u.held); n > 0 {
		if u.held = u.held[n:]; len(u.held) == 0 {
			u.held = nil
		}
		return n, nil
	}
	if u.z == nil {
		return 0, io.EOF
	}
	for n == 0 && err == nil {
		n, err = u.z.Read(p)
	}
	if n == 0 && err == io.EOF {
		u.z = nil // it needs memory
	}
	u.pos += int64(n)
	if n > 0 {
		err = nil // it comes again
	}
	return n, err
}
