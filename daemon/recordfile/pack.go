package recordfile

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/processors"
)

// errOver stops a compression because the daemon ends.
var errOver = errors.New("stopped")

// pack compresses a backup. The compressed file is complete and on disk before it gets its name,
// and only then is the backup removed.
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
	out, err := r.makePacked(temp, info.Mode().Perm())
	if err != nil {
		return err
	}
	if err := fill(out, in, func() error { return r.mayPack(out, over) }); err != nil {
		err = errors.Join(err, out.Close(), os.Remove(temp))
		if errors.Is(err, errOver) {
			return nil
		}
		return fmt.Errorf("compress %q: %w", name, err)
	}
	disk := r.storage()
	err = errors.Join(out.Close(), disk.rename(temp, packed), disk.syncDir(filepath.Dir(packed)))
	if err != nil {
		return err
	}
	return os.Remove(name)
}

// makePacked creates the compressed file.
func (r rule) makePacked(path string, mode fs.FileMode) (handle, error) {
	file, err := r.storage().open(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	out, err := r.storage().hold(file)
	if err == nil {
		err = out.Chmod(mode)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(path))
	}
	return out, nil
}

// packStep is the number of bytes after which a compression checks whether it may continue.
const packStep = 1 << 20

// mayPack returns an error if the compression must stop.
func (r rule) mayPack(out handle, over func() bool) error {
	if over() {
		return errOver
	}
	if r.minFree == 0 {
		return nil
	}
	free, err := out.room()
	if err == nil && free < r.minFree+packStep {
		err = fmt.Errorf("%d bytes are free on its file system, "+
			"too few beside the %d that min_free leaves to others", free, r.minFree)
	}
	return err
}

// fill compresses in to out, and syncs out. It stops if mayGoOn returns an error.
func fill(out handle, in io.Reader, mayGoOn func() error) error {
	defer processors.Occupy()()
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
	return errors.Join(z.Close(), out.datasync())
}

// syncDir writes the names in a directory to disk.
func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
