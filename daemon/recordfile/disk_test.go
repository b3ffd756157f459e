package recordfile

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gopkg.in/natefinch/lumberjack.v2"
)

// faulty is a disk in front of the kernel's. It fails as a test demands, notes the operations, and
// knows what would survive a power failure now: what was synced, and a random part of the rest.
type faulty struct {
	mu     sync.Mutex
	writes func(p []byte) (int, error) // how much of p, and why not all; nil, or n < 0: all
	// Before each operation but close; an error prevents it; nil: not called.
	step    func(what string) error
	syncs   func() error // nil: it works. It is called without mu.
	syncsOf func() error // of directories
	cuts    func() error // nil: truncating works
	// Before each write, sync and sync of a directory; nil: not called.
	tick  func()
	free  func() int64 // nil: the kernel's answer
	looks int          // calls of room
	// operations: "write", "sync", "close" with the file's number, "sync dir".
	done   []string
	inodes map[uint64]*inode
	names  map[string]uint64 // that survive
}

// inode is a file, independent of its names.
type inode struct {
	number int
	disk   []byte // what survives
	size   int
	dirty  []extent
}

// extent is data that was written at one place and not synced.
type extent struct {
	at   int
	data string
}

func newFaulty() *faulty { return &faulty{inodes: map[uint64]*inode{}, names: map[string]uint64{}} }

// may returns an error if an operation has to fail.
func (d *faulty) may(what string) error {
	if d.step == nil {
		return nil
	}
	return d.step(what)
}

func (d *faulty) open(path string, flags int, mode fs.FileMode) (*os.File, error) {
	if err := d.may("open"); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return kernel{}.open(path, flags, mode)
}

func (d *faulty) rename(from, to string) error {
	if err := d.may("rename"); err != nil {
		return err
	}
	return kernel{}.rename(from, to)
}

func (d *faulty) move(from, to string) error {
	if err := d.may("move"); err != nil {
		return err
	}
	return kernel{}.move(from, to)
}

func (d *faulty) rotate(l *lumberjack.Logger) error {
	if err := d.may("rotate"); err != nil {
		return err
	}
	return kernel{}.rotate(l)
}

func (d *faulty) hold(f *os.File) (handle, error) {
	if err := d.may("hold"); err != nil {
		return nil, err
	}
	h, err := kernel{}.hold(f)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	id := info.Sys().(*syscall.Stat_t).Ino
	if d.inodes[id] == nil || info.Size() == 0 { // the number of a removed file is used again
		d.inodes[id] = &inode{number: len(d.inodes) + 1}
	}
	return &faultyHandle{h, d, d.inodes[id]}, nil
}

func (d *faulty) syncDir(name string) error {
	d.before()
	if err := d.may("sync dir"); err != nil {
		return err
	}
	if d.syncsOf != nil {
		if err := d.syncsOf(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, "sync dir")
	d.names = namesIn(name)
	return nil
}

// namesIn returns the record files in a directory, including compressed ones.
func namesIn(dir string) map[string]uint64 {
	found := map[string]uint64{}
	paths, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	packed, _ := filepath.Glob(filepath.Join(dir, "*.log.gz"))
	for _, path := range append(paths, packed...) {
		if info, err := os.Stat(path); err == nil {
			found[filepath.Base(path)] = info.Sys().(*syscall.Stat_t).Ino
		}
	}
	return found
}

// did returns the operations since the last call.
func (d *faulty) did() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	done := d.done
	d.done = nil
	return done
}

// count returns how often an operation was done.
func (d *faulty) count(what string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, done := range d.done {
		if strings.HasPrefix(done, what) {
			n++
		}
	}
	return n
}

func (d *faulty) before() {
	if d.tick != nil {
		d.tick()
	}
}

// losePower fills dir with what survives of the files' directory. It is called by tick, when
// nothing changes.
func (d *faulty) losePower(from, dir string, chance *rand.Rand) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	left := d.names
	if chance.IntN(2) == 0 { // the kernel may write directories by itself
		left = namesIn(from)
	}
	for name, id := range left {
		if err := os.WriteFile(filepath.Join(dir, name), d.inodes[id].left(chance), 0o640); err != nil {
			return err
		}
	}
	return nil
}

// left returns what survives of the file: what was synced, and a part of the rest; the new size may
// survive without the bytes.
func (i *inode) left(chance *rand.Rand) []byte {
	if i == nil { // created, but not held yet
		return nil
	}
	content := slices.Clone(i.disk)
	for _, e := range i.dirty {
		if e.at != len(content) {
			break
		}
		n := chance.IntN(len(e.data) + 1)
		if content = append(content, e.data[:n]...); n < len(e.data) {
			break
		}
	}
	if ahead := i.size - len(content); ahead > 0 && chance.IntN(2) == 0 {
		content = append(content, make([]byte, chance.IntN(ahead))...)
	}
	return content
}

// faultyHandle is a file of a faulty disk.
type faultyHandle struct {
	handle
	disk *faulty
	file *inode
}

func (h *faultyHandle) Write(p []byte) (int, error) {
	h.disk.before()
	if err := h.disk.may("write"); err != nil {
		return 0, err
	}
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	h.note("write")
	n, fault := -1, error(nil)
	if h.disk.writes != nil {
		n, fault = h.disk.writes(p)
	}
	if n < 0 {
		n = len(p)
	}
	n, err := h.handle.Write(p[:n])
	if err == nil {
		err = fault
	}
	h.file.dirty = append(h.file.dirty, extent{h.file.size, string(p[:n])})
	h.file.size += n
	return n, err
}

func (h *faultyHandle) Truncate(size int64) error {
	if err := h.disk.may("truncate"); err != nil {
		return err
	}
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.disk.cuts != nil {
		if err := h.disk.cuts(); err != nil {
			return err
		}
	}
	var left []extent
	for _, e := range h.file.dirty {
		if room := int(size) - e.at; room > 0 {
			left = append(left, extent{e.at, e.data[:min(room, len(e.data))]})
		}
	}
	h.file.dirty, h.file.size = left, int(size)
	return h.handle.Truncate(size)
}

// datasync writes dirty data. If it fails, the data is lost, and is no longer dirty.
func (h *faultyHandle) datasync() error {
	h.disk.before()
	if err := h.disk.may("sync"); err != nil {
		return err
	}
	h.disk.mu.Lock()
	dirty, size := h.file.dirty, h.file.size // later writes do not count
	h.file.dirty = nil
	h.disk.mu.Unlock()
	if h.disk.syncs != nil {
		if err := h.disk.syncs(); err != nil {
			return err
		}
	}
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	h.note("sync")
	content := make([]byte, size)
	copy(content, h.file.disk)
	for _, e := range dirty {
		copy(content[min(e.at, size):], e.data)
	}
	h.file.disk = content
	return nil
}

func (h *faultyHandle) Close() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	h.note("close")
	return h.handle.Close()
}

func (h *faultyHandle) room() (int64, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	h.disk.looks++
	if h.disk.free != nil {
		return h.disk.free(), nil
	}
	return h.handle.room()
}

func (h *faultyHandle) note(what string) {
	h.disk.done = append(h.disk.done, fmt.Sprintf("%s %d", what, h.file.number))
}

// onFaulty returns options for a file on a faulty disk.
func onFaulty(t *testing.T) (Options, *faulty) {
	opt, d := options(t), newFaulty()
	opt.disk = d
	return opt, d
}

// survives returns what survives of the file with the given name: what was synced.
func (d *faulty) survives(path string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	id, named := d.names[filepath.Base(path)]
	if !named {
		return fs.ErrNotExist.Error()
	}
	return string(d.inodes[id].disk)
}

// failingStep fails all operations with the given name.
func failingStep(what string, err error) func(string) error {
	return func(step string) error {
		if step == what {
			return err
		}
		return nil
	}
}
