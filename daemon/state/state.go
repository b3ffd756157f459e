// Package state keeps what the kernel does not know about a connection: how much of it is recorded,
// since when it has been served, whether it may have crashed a process. It is stored in a file in
// memory that survives the process. The next process reads what a process has written, whichever of
// them is newer and however the first one ended. If the file is damaged, only these details are
// lost. The package uses no sockets: it knows a connection by the socket's cookie.
//
// The file is a header and slots of equal size, one for each connection. Numbers are in the byte
// order of the machine, which the file does not leave. A later version may use more of the header
// and of a slot, but does not change the meaning of a field, so each version can use the file of
// any other. The file names the version that used it last, so that a later version knows which
// fields are out of date; version 1 does not change that number.
//
// TLS is another such file, for connections whose TLS the kernel does.
package state

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	magic    = 0x0a5854_4d504354 // "TCPMTX\n"
	version  = 2                 // since version 2 slots have marks
	pageSize = 4096
	slotSize = 192
	// maxSlots bounds what is mapped.
	maxSlots = 4_000_000
	// shelfSize is the size of a slot's shelf: that of the longest message, and of what one
	// peek returns. What is not used takes no memory.
	shelfSize = 17 << 20
)

// header is the first page of the file.
type header struct {
	magic, version, slotSize, slots uint64
	used                            uint64 // slots from this index on have never been taken
	// Where the first shelf begins in the file; 0: no shelves.
	shelves uint64
}

// File is the file with the state of connections. A slot that was never taken needs no memory. The
// methods may be called from any goroutine.
type File struct {
	fd    int
	mem   []byte
	slots []slot

	mu   sync.Mutex
	free []int32          // the slot that was freed last is the last
	left map[uint64]*Slot // of another process, until Find or Forget
}

// New makes a file with the given number of slots.
func New(slots int) (*File, error) {
	fd, err := createMemory("tcpmux-state")
	if err != nil {
		return nil, err
	}
	size := (pageSize + slots*slotSize + pageSize - 1) / pageSize * pageSize
	shelves := uint64(size)
	err = unix.Ftruncate(fd, int64(size)+int64(slots)*shelfSize)
	// With RLIMIT_FSIZE, or the 16 TiB limit of a 32-bit kernel, there is no room for shelves.
	if errors.Is(err, unix.EFBIG) {
		shelves, err = 0, unix.Ftruncate(fd, int64(size))
	}
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("ftruncate", err), unix.Close(fd))
	}
	if err := sealSize(fd); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	f := &File{fd: fd}
	if err := f.mapped(size, slots); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	*f.header() = header{magic, version, slotSize, uint64(slots), 0, shelves}
	return f, nil
}

// Open takes over the file of another process, and closes it after an error. From now on the File
// owns the descriptor. Find returns the slots that the process left, and Forget frees the others.
func Open(fd int) (*File, error) {
	f := &File{fd: fd}
	if err := f.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("state of connections: %w", err), unix.Close(fd))
	}
	f.index()
	return f, nil
}

// Settle removes the marks of connections whose records are not all before a position of the
// journal. Later calls of Mark are given positions from there on. Call Settle once, before Find.
func (f *File) Settle(position int64) { f.SettleEach(func(uint32) int64 { return position }) }

// SettleEach is Settle where connections of different origins have different journals: position
// returns that of an origin.
func (f *File) SettleEach(position func(origin uint32) int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for _, s := range f.left {
		s.settle(position(s.Origin()), now)
	}
}

// errDamaged reports that a file is not ours, or cannot be trusted.
var errDamaged = errors.New("the file is damaged")

func (f *File) open() error {
	length, err := sealedSize(f.fd)
	if err != nil {
		return err
	}
	if err := f.mapped(pageSize, 0); err != nil {
		return err
	}
	h := *f.header()
	_ = unix.Munmap(f.mem) // the whole file is mapped next
	size := pageSize + h.slots*slotSize
	if h.magic != magic || h.slotSize != slotSize || h.slots > maxSlots || size > uint64(length) || h.used > h.slots {
		return errDamaged
	}
	if h.version == 0 {
		return errDamaged
	}
	if h.shelves != 0 && (h.shelves < size || h.shelves+h.slots*shelfSize > uint64(length)) {
		return errDamaged
	}
	if err := f.mapped(int(size), int(h.slots)); err != nil {
		return err
	}
	f.used()
	return nil
}

// used notes that this version uses the file. Marks in a file that a version without marks has used
// are out of date, and are removed.
func (f *File) used() {
	h := f.header()
	if h.version < 2 {
		for i := range h.used {
			(&Slot{f, &f.slots[i], int32(i)}).unmark()
		}
	}
	h.version = version
}

// mapped maps the file, and sets mem and slots.
func (f *File) mapped(size, slots int) error {
	mem, err := mapMemory(f.fd, size)
	if err != nil {
		return err
	}
	f.mem = mem
	if slots > 0 {
		f.slots = unsafe.Slice((*slot)(unsafe.Pointer(&mem[pageSize])), slots)
	}
	return nil
}

func (f *File) header() *header { return (*header)(unsafe.Pointer(&f.mem[0])) }

// index finds the free slots and those that are taken. Two slots with the same cookie, which no
// killed process leaves, do not both count: the first one does.
func (f *File) index() {
	f.left = make(map[uint64]*Slot)
	for i := range f.header().used {
		s := &Slot{f, &f.slots[i], int32(i)}
		cookie := s.at.cookie.Load()
		if cookie == 0 {
			f.free = append(f.free, int32(i))
			continue
		}
		if twin := f.left[cookie]; twin != nil {
			s.clear()
			f.free = append(f.free, int32(i))
			continue
		}
		f.left[cookie] = s
	}
}

// FD returns the file's descriptor, so that another process can be given a duplicate. The File
// still owns it.
func (f *File) FD() int { return f.fd }

// Take returns a slot for a connection; nil if no slot is free.
func (f *File) Take(cookie uint64) *Slot {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	i := int32(f.header().used)
	switch n := len(f.free); {
	case n > 0:
		i = f.free[n-1]
		f.free = f.free[:n-1]
	case int(i) < len(f.slots):
		f.header().used++
	default:
		return nil
	}
	s := &Slot{f, &f.slots[i], i}
	s.at.cookie.Store(cookie)
	s.unmark()
	return s
}

// Find returns the slot that another process left for a connection, once; nil if there is no such
// slot.
func (f *File) Find(cookie uint64) *Slot {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.left[cookie]
	delete(f.left, cookie)
	return s
}

// Origins returns the origins of all connections that have a slot.
func (f *File) Origins() map[uint32]bool {
	all := make(map[uint32]bool)
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.header().used {
		if s := (&Slot{f, &f.slots[i], int32(i)}); s.at.cookie.Load() != 0 {
			all[s.Origin()] = true
		}
	}
	return all
}

// Forget frees the slots that Find has not returned: their connections no longer exist.
func (f *File) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.left {
		s.clear()
		f.free = append(f.free, s.i)
	}
	f.left = nil
}

// Close closes the file. It survives while another process has it. No slot may be used afterwards.
func (f *File) Close() error {
	return errors.Join(unix.Munmap(f.mem), unix.Close(f.fd))
}
