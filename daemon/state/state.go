// Package state keeps, in a file in memory that outlives the process, what the kernel does not know of a connection: how many
// records it has become, since when it is served, whether it may have brought a process down. It promises that what one process
// has written the next one reads, whichever of the two is newer and however the first one ended; and that a file which is damaged
// costs these details and nothing else. It takes plain values and knows no socket but by its cookie.
//
// The file is a header and slots of one size, one for each connection, found by the socket's cookie. Numbers are in the machine's
// byte order, as the file does not leave it. Later versions may use more of the header and of a slot, never anything in it otherwise:
// each version goes on with the file of any other. The file names the version that has used it last, so that a later one knows what
// nobody has kept up to date; version 1 has left that name as it was.
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
	version  = 2                 // has marks
	pageSize = 4096
	slotSize = 192
	// maxSlots bounds what is mapped.
	maxSlots = 4_000_000
	// shelfSize is how much may lie on a slot's shelf: the longest message there can be, and what one look shows. What is not used
	// takes no memory.
	shelfSize = 17 << 20
)

// header is the first page of the file.
type header struct {
	magic, version, slotSize, slots uint64
	used                            uint64 // slots from this one on have never been taken
	shelves                         uint64 // where the shelf of the first slot begins in the file; 0: there are none
}

// File is such a file. A slot that was never taken costs no memory. Its methods may be called from any goroutine.
type File struct {
	fd    int
	mem   []byte
	slots []slot

	mu   sync.Mutex
	free []int32 // the one that was freed last comes last
	left map[uint64]*Slot
}

// New makes a file for so many connections. Those beyond have no slot.
func New(slots int) (*File, error) {
	fd, err := unix.MemfdCreate("tcpmux-state", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	size := (pageSize + slots*slotSize + pageSize - 1) / pageSize * pageSize
	shelves := uint64(size)
	err = unix.Ftruncate(fd, int64(size)+int64(slots)*shelfSize)
	if errors.Is(err, unix.EFBIG) { // RLIMIT_FSIZE, or the 16 TiB of a kernel for 32 bits: we do without shelves
		shelves, err = 0, unix.Ftruncate(fd, int64(size))
	}
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("ftruncate", err), unix.Close(fd))
	}
	// A file that another holder of it could shorten would be a trap (mmap(2), SIGBUS).
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return nil, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fd))
	}
	f := &File{fd: fd}
	if err := f.mapped(size, slots); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	*f.header() = header{magic, version, slotSize, uint64(slots), 0, shelves}
	return f, nil
}

// Open takes over the file of another process; the descriptor is the File's from now on. What the file says of connections is had
// by Find, and forgotten by Forget.
func Open(fd int) (*File, error) {
	f := &File{fd: fd}
	if err := f.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("state of connections: %w", err), unix.Close(fd))
	}
	f.index()
	return f, nil
}

// Settle forgets the marks of connections whose records were not written up to a position of the journal, which is the next that
// Mark can be given. It is called once, before Find.
func (f *File) Settle(position int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for _, s := range f.left {
		s.settle(position, now)
	}
}

// errDamaged is that a file is none of ours, or cannot be trusted.
var errDamaged = errors.New("the file is damaged")

func (f *File) open() error {
	seals, err := unix.FcntlInt(uintptr(f.fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_SHRINK == 0 {
		return errDamaged
	}
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Size < pageSize {
		return errDamaged
	}
	if err := f.mapped(pageSize, 0); err != nil {
		return err
	}
	h := *f.header()
	_ = unix.Munmap(f.mem) // all of it is mapped next
	size := pageSize + h.slots*slotSize
	if h.magic != magic || h.slotSize != slotSize || h.slots > maxSlots || size > uint64(st.Size) || h.used > h.slots {
		return errDamaged
	}
	if h.version == 0 {
		return errDamaged
	}
	if h.shelves != 0 && (h.shelves < size || h.shelves+h.slots*shelfSize > uint64(st.Size)) {
		return errDamaged
	}
	if err := f.mapped(int(size), int(h.slots)); err != nil {
		return err
	}
	f.used()
	return nil
}

// used notes that this version uses the file. What a version without marks has left in their place is not looked at again.
func (f *File) used() {
	h := f.header()
	if h.version < 2 {
		for i := range h.used {
			(&Slot{f, &f.slots[i], int32(i)}).unmark()
		}
	}
	h.version = version
}

// mapped makes mem and slots the file's.
func (f *File) mapped(size, slots int) error {
	mem, err := unix.Mmap(f.fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	f.mem = mem
	if slots > 0 {
		f.slots = unsafe.Slice((*slot)(unsafe.Pointer(&mem[pageSize])), slots)
	}
	return nil
}

func (f *File) header() *header { return (*header)(unsafe.Pointer(&f.mem[0])) }

// index finds the free slots and the taken ones. Of two slots with one cookie, which a kill cannot leave, neither is trusted.
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

// FD is the file's descriptor, for whoever is to keep it. It stays the File's.
func (f *File) FD() int { return f.fd }

// Take returns a slot for a connection; nil when there is none left.
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

// Find returns what another process has left of a connection, once; nil when there is nothing.
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

// Origins are the origins of all connections that have a slot.
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

// Forget frees the slots that nobody has asked for: their connections are no more.
func (f *File) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.left {
		s.clear()
		f.free = append(f.free, s.i)
	}
	f.left = nil
}

// Close lets go of the file, which stays while somebody else holds it. No slot may be used any longer.
func (f *File) Close() error {
	return errors.Join(unix.Munmap(f.mem), unix.Close(f.fd))
}
