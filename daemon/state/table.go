package state

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tableVersion is that of the tables that this version writes.
const tableVersion = 1

// maxEntries bounds what is mapped.
const maxEntries = 4_000_000

// tableHeader is the first page of a table.
type tableHeader struct {
	magic, version, entrySize, entries uint64
	// Entries from this index on have never been taken.
	used uint64
}

// table is a file in memory that has an entry for each connection of a kind: what slots have no
// room for. An entry that was never taken needs no memory. The methods may be called from any
// goroutine.
type table[E any, P entry[E]] struct {
	fd      int
	mem     []byte
	entries []E

	mu   sync.Mutex
	free []int32          // the entry that was freed last is the last
	left map[uint64]int32 // of another process, by cookie, until find or Forget
}

// entry is a pointer to an entry in the file.
type entry[E any] interface {
	*E
	owner() *atomic.Uint64 // the cookie of the connection; 0: the entry is free
	clear()
}

// size returns how many bytes so many entries are, with the header.
func (t *table[E, P]) size(entries uint64) uint64 {
	var e E
	return pageSize + entries*uint64(unsafe.Sizeof(e))
}

// create makes the file with the given number of entries.
func (t *table[E, P]) create(name string, magic uint64, entries int) (err error) {
	if t.fd, err = createMemory(name); err != nil {
		return err
	}
	size := (t.size(uint64(entries)) + pageSize - 1) / pageSize * pageSize
	if err = os.NewSyscallError("ftruncate", unix.Ftruncate(t.fd, int64(size))); err == nil {
		err = sealSize(t.fd)
	}
	if err == nil {
		err = t.mapped(int(size), entries)
	}
	if err != nil {
		return errors.Join(err, unix.Close(t.fd))
	}
	*t.header() = tableHeader{magic, tableVersion, t.size(1) - pageSize, uint64(entries), 0}
	return nil
}

// open takes over the file of another process, and closes it after an error.
func (t *table[E, P]) open(fd int, magic uint64) error {
	t.fd = fd
	if err := t.check(magic); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	t.index()
	return nil
}

func (t *table[E, P]) check(magic uint64) error {
	length, err := sealedSize(t.fd)
	if err != nil {
		return err
	}
	if err := t.mapped(pageSize, 0); err != nil {
		return err
	}
	h := *t.header()
	_ = unix.Munmap(t.mem) // the whole file is mapped next
	if h.magic != magic || h.version == 0 || h.entrySize != t.size(1)-pageSize ||
		h.entries > maxEntries || t.size(h.entries) > uint64(length) || h.used > h.entries {
		return errDamaged
	}
	if err := t.mapped(int(t.size(h.entries)), int(h.entries)); err != nil {
		return err
	}
	t.header().version = tableVersion
	return nil
}

// mapped maps the file, and sets mem and entries.
func (t *table[E, P]) mapped(size, entries int) error {
	mem, err := mapMemory(t.fd, size)
	if err != nil {
		return err
	}
	// No core dump is to have secrets; a kernel that cannot leave it out makes none worse.
	_ = unix.Madvise(mem, unix.MADV_DONTDUMP)
	t.mem = mem
	if entries > 0 {
		t.entries = unsafe.Slice((*E)(unsafe.Pointer(&mem[pageSize])), entries)
	}
	return nil
}

func (t *table[E, P]) header() *tableHeader { return (*tableHeader)(unsafe.Pointer(&t.mem[0])) }

func (t *table[E, P]) at(i int32) P { return P(&t.entries[i]) }

// index finds the free entries and those that are taken. Of two with the same cookie, which no
// killed process leaves, the first one counts.
func (t *table[E, P]) index() {
	t.left = make(map[uint64]int32)
	for i := range int32(t.header().used) {
		cookie := t.at(i).owner().Load()
		if _, twin := t.left[cookie]; cookie != 0 && !twin {
			t.left[cookie] = i
			continue
		}
		t.at(i).clear()
		t.free = append(t.free, i)
	}
}

// FD returns the file's descriptor, so that another process can be given a duplicate. The table
// still owns it.
func (t *table[E, P]) FD() int { return t.fd }

// take takes an entry for a connection; ok is false if no entry is free.
func (t *table[E, P]) take(cookie uint64) (i int32, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i = int32(t.header().used)
	switch n := len(t.free); {
	case n > 0:
		i = t.free[n-1]
		t.free = t.free[:n-1]
	case int(i) < len(t.entries):
		t.at(i).clear() // in a file that is damaged it may hold something
		t.header().used++
	default:
		return 0, false
	}
	store(t.at(i).owner(), cookie)
	return i, true
}

// find returns the entry that another process left for a connection, once.
func (t *table[E, P]) find(cookie uint64) (i int32, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, ok = t.left[cookie]
	delete(t.left, cookie)
	return i, ok
}

// forget frees the entries that find has not returned: their connections no longer exist.
func (t *table[E, P]) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, i := range t.left {
		t.at(i).clear()
		t.free = append(t.free, i)
	}
	t.left = nil
}

// release frees an entry.
func (t *table[E, P]) release(i int32) {
	t.at(i).clear()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free = append(t.free, i)
}

// close closes the file. It survives while another process has it. No entry may be used afterwards.
func (t *table[E, P]) close() error {
	return errors.Join(unix.Munmap(t.mem), unix.Close(t.fd))
}
