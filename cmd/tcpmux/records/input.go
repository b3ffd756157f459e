package records

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"time"
)

// grows reports whether the file may be written to at this moment.
func (f *file) grows(packed bool) bool {
	return !packed && f.info.Mode().IsRegular() && time.Since(f.info.ModTime()) < time.Minute
}

// reader reads the file from its beginning, decompressed, until ctx ends. The error may be a
// foreignError.
func (fs *Files) reader(ctx context.Context, f *file) (r io.Reader, packed bool, err error) {
	raw, err := fs.raw(ctx, f)
	if err != nil {
		return nil, false, err
	}
	in := bufio.NewReader(counted{ctx, raw, fs.Progress})
	for _, c := range foreign {
		if begins(in, c.magic) {
			return nil, true, c
		}
	}
	if !begins(in, "\x1f\x8b") {
		return in, false, nil
	}
	z, err := gzip.NewReader(in)
	return z, true, err
}

// begins reports whether in begins with magic. It waits only for the bytes that it needs to decide.
func begins(in *bufio.Reader, magic string) bool {
	for n := 1; n <= len(magic); n++ {
		// An error comes again when it is read.
		if head, _ := in.Peek(n); string(head) != magic[:n] {
			return false
		}
	}
	return true
}

// raw reads the file from its beginning, as it is.
func (fs *Files) raw(ctx context.Context, f *file) (io.Reader, error) {
	switch {
	case f.spool != nil:
		_, err := f.spool.Seek(0, io.SeekStart)
		return f.spool, err
	case f.info.Mode().IsRegular():
		_, err := f.f.Seek(f.start, io.SeekStart)
		return f.f, err
	case !fs.again:
		return pour(ctx, f.f, fs.idle), nil
	}
	spool, err := newSpool()
	if err != nil {
		return nil, err
	}
	f.spool = spool
	return io.TeeReader(pour(ctx, f.f, fs.idle), spooler{spool}), nil
}

// spooler writes to a spool, with an error that names the purpose.
type spooler struct{ *os.File }

// Write writes b.
func (s spooler) Write(b []byte) (int, error) {
	n, err := s.File.Write(b)
	return n, spoolError(err)
}

func spoolError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("keep it in %q ($TMPDIR) for a second reading: %w", os.TempDir(), err)
}

// newSpool makes a file without a name, for input that can be read only once.
func newSpool() (*os.File, error) {
	f, err := os.CreateTemp("", "tcpmux-*")
	if err == nil {
		err = os.Remove(f.Name())
	}
	return f, spoolError(err)
}

// pour reads f, and stops waiting when ctx is done. A goroutine that reads may stay behind.
func pour(ctx context.Context, f *os.File, idle func()) io.Reader {
	r, w := io.Pipe()
	// It never fails.
	context.AfterFunc(ctx, func() { _ = r.CloseWithError(context.Cause(ctx)) })
	go func() {
		_, err := io.Copy(w, f)
		_ = w.CloseWithError(err) // it never fails
	}()
	return waiting{r, idle}
}

// waiting calls idle before each read.
type waiting struct {
	io.Reader
	idle func()
}

// Read reads once idle has returned.
func (w waiting) Read(p []byte) (int, error) {
	if w.idle != nil {
		w.idle()
	}
	return w.Reader.Read(p)
}

// foreignError reports a compression that is not supported.
type foreignError struct{ magic, name, tool string }

// Error names a workaround.
func (c foreignError) Error() string {
	return fmt.Sprintf("is compressed with %s, which is not read here; pipe it in: \"%s FILE | tcpmux verify -\", or \"cat -\"", c.name, c.tool)
}

var foreign = []foreignError{
	{"\xfd7zXZ\x00", "xz", "xz -dc"},
	{"\x28\xb5\x2f\xfd", "zstd", "zstd -dc"},
	{"BZh", "bzip2", "bzip2 -dc"},
	{"\x04\x22\x4d\x18", "lz4", "lz4 -dc"},
}

// counted reports how much is read, until ctx is done.
type counted struct {
	ctx context.Context
	io.Reader
	tell func(n int64)
}

// Read reports what it has read, also at the end of the file and before an error.
func (c counted) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err := c.Reader.Read(p)
	if c.tell != nil {
		c.tell(int64(n))
	}
	return n, err
}
