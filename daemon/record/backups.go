package record

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// rule says which backups of a file are kept, and how.
type rule struct {
	path     string // of the file that was rotated
	most     int    // 0: all
	age      time.Duration
	compress bool
	minFree  int64 // bytes that compression leaves free on the file system
}

// keeper keeps backups by a rule, in the background and one file at a time. lumberjack could count, age and compress them; but
// it tells nobody when it cannot, and two of its loggers on one file, which a reload would need, delete what they compress.
type keeper struct {
	trouble func(error)

	mu      sync.Mutex
	rule    rule
	running bool
	again   bool // the rule or the files have changed since the run began
	stopped bool
	failing bool
	ended   sync.Cond
}

func newKeeper(trouble func(error)) *keeper {
	k := &keeper{trouble: trouble}
	k.ended.L = &k.mu
	return k
}

// keep makes r hold, soon.
func (k *keeper) keep(r rule) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rule, k.again = r, true
	if !k.running && !k.stopped {
		k.running = true
		go k.run()
	}
}

// stop returns when nothing runs any more; what was begun is left for the next time.
func (k *keeper) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	for k.running {
		k.ended.Wait()
	}
}

func (k *keeper) run() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.again && !k.stopped {
		k.again = false
		r := k.rule
		k.mu.Unlock()
		err := r.apply(k.over)
		k.mu.Lock()
		if changed := k.failing != (err != nil); changed && !k.stopped {
			k.failing = err != nil
			k.trouble(err)
		}
	}
	k.running = false
	k.ended.Broadcast()
}

// over says whether a run should end early.
func (k *keeper) over() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stopped
}

// apply removes what is too much or too old, and compresses the rest.
func (r rule) apply(over func() bool) error {
	backups, err := r.list()
	var errs []error
	var kept int
	for i, b := range slices.Backward(backups) {
		if over() {
			break
		}
		if i == len(backups)-1 || !b.At.Equal(backups[i+1].At) { // else it is the one before in another form
			kept++
		}
		switch {
		case r.most > 0 && kept > r.most, r.age > 0 && time.Since(b.At) > r.age:
			errs = append(errs, os.Remove(b.Path()))
		case r.compress && !b.Packed:
			errs = append(errs, r.pack(b, over))
		}
	}
	return errors.Join(append(errs, err)...)
}

// list returns the backups, the oldest first. What a crash left of a compression is removed.
func (r rule) list() ([]Backup, error) {
	all, unfinished, err := backupsOf(r.path)
	for _, name := range unfinished {
		_ = os.Remove(name) // it is tried again the next time
	}
	return all, err
}

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
