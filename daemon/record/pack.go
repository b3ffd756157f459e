package record

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// errOver ends a compression that the daemon's end has overtaken.
var errOver = errors.New("stopped")

// pack compresses the file. The compressed one is complete and on disk before it gets its name, and only then the file goes.
func (r rule) pack(b Backup, over func() bool) error {
	name := b.Path()
	b.Packed = true
	packed, temp := b.Path(), b.Path()+tempSuffix
	in, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer in.Close() // nothing was written
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	if err := fill(out, in, info.Mode().Perm(), func() error { return r.mayPack(out, over) }); err != nil {
		err = errors.Join(err, out.Close(), os.Remove(temp))
		if errors.Is(err, errOver) {
			return nil
		}
		return fmt.Errorf("compress %q: %w", name, err)
	}
	if err := errors.Join(out.Close(), os.Rename(temp, packed), syncDir(filepath.Dir(packed))); err != nil {
		return err
	}
	return os.Remove(name)
}

// packStep is how much is compressed until it is looked again whether that may go on.
const packStep = 1 << 20

// mayPack says why compression should end early, if it should.
func (r rule) mayPack(out *os.File, over func() bool) error {
	if over() {
		return errOver
	}
	if r.minFree == 0 {
		return nil
	}
	h, err := kernel{}.hold(out)
	if err != nil {
		return err
	}
	free, err := h.room()
	if err == nil && free < r.minFree+packStep {
		err = fmt.Errorf("%d bytes are free on its file system, too few beside the %d that min_free leaves to others", free, r.minFree)
	}
	return err
}

// fill writes in, compressed, to out, and has it on disk, as long as mayGoOn has no error.
func fill(out, in *os.File, mode fs.FileMode, mayGoOn func() error) error {
	z := gzip.NewWriter(out)
	for {
		if err := mayGoOn(); err != nil {
			return err
		}
		if _, err := io.CopyN(z, in, packStep); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	return errors.Join(z.Close(), out.Chmod(mode), out.Sync())
}

// syncDir has the names in a directory on disk.
func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
