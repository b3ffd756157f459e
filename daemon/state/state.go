// Package state keeps, in a file in memory that outlives the process, what the kernel does not know of a connection: how many
// records it has become, since when it is served, whether it may have brought a process down. It promises that what one process
// has written the next one reads, whichever of the two is newer and however the first one ended; and that a file which is damaged
// costs these details and nothing else.
//
// The file is a header and slots of one size, one for each connection, found by the socket's cookie. Numbers are in the machine's
// byte order, as the file does not leave it. Later versions may use more of a slot, never anything in it otherwise.
package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	magic    = 0x0a5854_4d504354 // "TCPMTX\n"
	version  = 1
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

// slot is how a Slot lies in the file. Its fields are read and written one by one, as a process may be killed between any two.
type slot struct {
	cookie  atomic.Uint64 // 0: free
	opened  atomic.Int64  // Unix nanoseconds; 0: not recorded as open yet
	turn    atomic.Uint64 // which of tallies holds, by its parity
	tallies [2]tally
	flags   atomic.Uint32
	crashes atomic.Uint32
	client  [2]atomic.Uint64 // the address of whom a proxy speaks for, in network order
	front   atomic.Uint64    // its port, the size of the proxy's header << 16, and frontFlags; 0: none has come
	base    atomic.Int64     // where in the client's stream what is shelved begins
	shelved atomic.Int64     // how many bytes that are
	_       [slotSize - 8*3 - 2*32 - 8 - 24 - 16]byte
}

// tally is what a session has come to.
type tally struct{ offset, records, framing, _ atomic.Int64 }

const (
	flagClosed = 1 << iota // its end is recorded
	flagBusy               // its bytes are being made into records
)

// Flags of front.
const (
	frontHasClient = 1 << (32 + iota) // there is an address
	frontIsIPv4
)

// File is such a file. A slot that was never taken costs no memory. Its methods may be called from any goroutine.
type File struct {
	fd    int
	mem   []byte
	slots []slot

	mu   sync.Mutex
	free []int32 // the one that was freed last comes last
	left map[uint64]*Slot
}

// Slot is what is kept of one connection. Its methods are called by one goroutine at a time. That of a nil Slot do nothing.
type Slot struct {
	file *File
	at   *slot
	i    int32
}

// New makes a file for so many connections. Those beyond have no slot.
func New(slots int) (*File, error) {
	fd, err := unix.MemfdCreate("tcpmux-state", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	size := (pageSize + slots*slotSize + pageSize - 1) / pageSize * pageSize
	shelves, all := uint64(size), int64(size)+int64(slots)*shelfSize
	if bits.UintSize < 64 {
		shelves, all = 0, int64(size)
	}
	if err := unix.Ftruncate(fd, all); err != nil {
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
	if h.shelves != 0 && (h.shelves < size || h.shelves+h.slots*shelfSize > uint64(st.Size)) {
		return errDamaged
	}
	return f.mapped(int(size), int(h.slots))
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

// Free gives the slot back.
func (s *Slot) Free() {
	if s == nil {
		return
	}
	s.clear()
	s.file.mu.Lock()
	defer s.file.mu.Unlock()
	s.file.free = append(s.file.free, s.i)
}

// clear empties the slot, the cookie first, so that a half-emptied one is nobody's.
func (s *Slot) clear() {
	s.at.cookie.Store(0)
	s.at.opened.Store(0)
	s.at.turn.Store(0)
	for i := range s.at.tallies {
		t := &s.at.tallies[i]
		t.offset.Store(0)
		t.records.Store(0)
		t.framing.Store(0)
	}
	s.at.flags.Store(0)
	s.at.crashes.Store(0)
	s.at.front.Store(0)
	for i := range s.at.client {
		s.at.client[i].Store(0)
	}
	s.empty()
	s.at.base.Store(0)
}

// SetClient notes whom the proxy before a connection speaks for, the zero value for nobody else, and how many bytes of its stream,
// 1 to 65535, have said so.
func (s *Slot) SetClient(client netip.AddrPort, size int) {
	if s == nil {
		return
	}
	front := uint64(client.Port()) | uint64(uint16(size))<<16
	if addr := client.Addr(); addr.IsValid() {
		bytes := addr.As16()
		s.at.client[0].Store(binary.BigEndian.Uint64(bytes[:8]))
		s.at.client[1].Store(binary.BigEndian.Uint64(bytes[8:]))
		if front |= frontHasClient; addr.Is4() {
			front |= frontIsIPv4
		}
	}
	s.at.front.Store(front)
}

// Client is what SetClient noted; the size is 0 when nothing was.
func (s *Slot) Client() (client netip.AddrPort, size int) {
	if s == nil {
		return client, 0
	}
	front := s.at.front.Load()
	if front&frontHasClient != 0 {
		var bytes [16]byte
		binary.BigEndian.PutUint64(bytes[:8], s.at.client[0].Load())
		binary.BigEndian.PutUint64(bytes[8:], s.at.client[1].Load())
		addr := netip.AddrFrom16(bytes)
		if front&frontIsIPv4 != 0 {
			addr = addr.Unmap()
		}
		client = netip.AddrPortFrom(addr, uint16(front))
	}
	return client, int(front >> 16 & 0xffff)
}

// Open notes that the opening of the connection is recorded, and when that was.
func (s *Slot) Open(at time.Time) {
	if s != nil {
		s.at.opened.Store(at.UnixNano())
	}
}

// Opened is when the opening was recorded; the zero time when it was not, or is not known.
func (s *Slot) Opened() time.Time {
	if s == nil || s.at.opened.Load() == 0 {
		return time.Time{}
	}
	return time.Unix(0, s.at.opened.Load())
}

// Tally is what a session has come to: at which offset of the client's stream, in bytes, how many records, and what its framing has
// to know beside the bytes.
type Tally struct{ Offset, Records, Framing int64 }

// Count notes how far the session has come. Killed in the middle, it is at the one before.
func (s *Slot) Count(t Tally) {
	if s == nil {
		return
	}
	if t.Offset != s.Tally().Offset && s.at.crashes.Load() != 0 {
		s.at.crashes.Store(0)
	}
	turn := s.at.turn.Load() + 1
	to := &s.at.tallies[turn&1]
	to.offset.Store(t.Offset)
	to.records.Store(t.Records)
	to.framing.Store(t.Framing)
	s.at.turn.Store(turn)
}

// Tally is what Count noted last.
func (s *Slot) Tally() Tally {
	if s == nil {
		return Tally{}
	}
	from := &s.at.tallies[s.at.turn.Load()&1]
	return Tally{from.offset.Load(), from.records.Load(), from.framing.Load()}
}

// SetClosed notes that the end of the session is recorded.
func (s *Slot) SetClosed() { s.flag(flagClosed, true) }

// Closed says whether the end of the session is recorded.
func (s *Slot) Closed() bool { return s != nil && s.at.flags.Load()&flagClosed != 0 }

// SetBusy notes whether bytes of the connection are being made into records.
func (s *Slot) SetBusy(busy bool) { s.flag(flagBusy, busy) }

func (s *Slot) flag(flag uint32, on bool) {
	switch {
	case s == nil:
	case on:
		s.at.flags.Or(flag)
	default:
		s.at.flags.And(^flag)
	}
}

// Crashed counts, once a process has left the connection, how many in a row have ended while they were busy with it, and Count has
// not come any further meanwhile.
func (s *Slot) Crashed() (times int) {
	if s == nil || s.at.flags.Load()&flagBusy == 0 {
		return 0
	}
	s.SetBusy(false)
	return int(s.at.crashes.Add(1))
}
