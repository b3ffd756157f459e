package state

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	tlsMagic   = 0x0a5854_4d50534c54 // "TLSPMTX\n"
	tlsVersion = 1
	// maxEntries bounds what is mapped.
	maxEntries = 4_000_000
)

// tlsHeader is the first page of the file.
type tlsHeader struct {
	magic, version, entrySize, entries uint64
	// Entries from this index on have never been taken.
	used uint64
}

// TLS is the file with the state of connections whose TLS the kernel does: what it does not tell of
// them. It is a file of its own, as slots have no room for that and versions before 0.3 do not know
// it. Their secrets are in it, so nobody but this service may have it. An entry that was never
// taken needs no memory. The methods may be called from any goroutine.
type TLS struct {
	fd      int
	mem     []byte
	entries []tlsEntry

	mu   sync.Mutex
	free []int32              // the entry that was freed last is the last
	left map[uint64]*TLSEntry // of another process, until Find or Forget
}

// NewTLS makes a file with the given number of entries.
func NewTLS(entries int) (*TLS, error) {
	fd, err := createMemory("tcpmux-tls")
	if err != nil {
		return nil, err
	}
	t := &TLS{fd: fd}
	size := (pageSize + entries*tlsEntrySize + pageSize - 1) / pageSize * pageSize
	if err = os.NewSyscallError("ftruncate", unix.Ftruncate(fd, int64(size))); err == nil {
		err = sealSize(fd)
	}
	if err == nil {
		err = t.mapped(size, entries)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	*t.header() = tlsHeader{tlsMagic, tlsVersion, tlsEntrySize, uint64(entries), 0}
	return t, nil
}

// OpenTLS takes over the file of another process, and closes it after an error. From now on the TLS
// owns the descriptor. Find returns the entries that the process left, and Forget frees the others.
func OpenTLS(fd int) (*TLS, error) {
	t := &TLS{fd: fd}
	if err := t.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("state of TLS connections: %w", err), unix.Close(fd))
	}
	t.index()
	return t, nil
}

func (t *TLS) open() error {
	length, err := sealedSize(t.fd)
	if err != nil {
		return err
	}
	if err := t.mapped(pageSize, 0); err != nil {
		return err
	}
	h := *t.header()
	_ = unix.Munmap(t.mem) // the whole file is mapped next
	size := pageSize + h.entries*tlsEntrySize
	if h.magic != tlsMagic || h.version == 0 || h.entrySize != tlsEntrySize ||
		h.entries > maxEntries || size > uint64(length) || h.used > h.entries {
		return errDamaged
	}
	if err := t.mapped(int(size), int(h.entries)); err != nil {
		return err
	}
	t.header().version = tlsVersion
	return nil
}

// mapped maps the file, and sets mem and entries.
func (t *TLS) mapped(size, entries int) error {
	mem, err := mapMemory(t.fd, size)
	if err != nil {
		return err
	}
	// No core dump is to have secrets; a kernel that cannot leave it out makes none worse.
	_ = unix.Madvise(mem, unix.MADV_DONTDUMP)
	t.mem = mem
	if entries > 0 {
		t.entries = unsafe.Slice((*tlsEntry)(unsafe.Pointer(&mem[pageSize])), entries)
	}
	return nil
}

func (t *TLS) header() *tlsHeader { return (*tlsHeader)(unsafe.Pointer(&t.mem[0])) }

// index finds the free entries and those that are taken. Of two with the same cookie, which no
// killed process leaves, the first one counts.
func (t *TLS) index() {
	t.left = make(map[uint64]*TLSEntry)
	for i := range t.header().used {
		e := &TLSEntry{t, &t.entries[i], int32(i)}
		cookie := e.at.cookie.Load()
		if cookie != 0 && t.left[cookie] == nil {
			t.left[cookie] = e
			continue
		}
		e.clear()
		t.free = append(t.free, e.i)
	}
}

// FD returns the file's descriptor, so that another process can be given a duplicate. The TLS still
// owns it.
func (t *TLS) FD() int { return t.fd }

// Take returns an entry for a connection; nil if no entry is free.
func (t *TLS) Take(cookie uint64) *TLSEntry {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := int32(t.header().used)
	switch n := len(t.free); {
	case n > 0:
		i = t.free[n-1]
		t.free = t.free[:n-1]
	case int(i) < len(t.entries):
		t.header().used++
	default:
		return nil
	}
	e := &TLSEntry{t, &t.entries[i], i}
	store(&e.at.cookie, cookie)
	return e
}

// Find returns the entry that another process left for a connection, once; nil if there is no such
// entry.
func (t *TLS) Find(cookie uint64) *TLSEntry {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	e := t.left[cookie]
	delete(t.left, cookie)
	t.mu.Unlock()
	e.settle()
	return e
}

// Forget frees the entries that Find has not returned: their connections no longer exist.
func (t *TLS) Forget() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.left {
		e.clear()
		t.free = append(t.free, e.i)
	}
	t.left = nil
}

// Close closes the file. It survives while another process has it. No entry may be used afterwards.
func (t *TLS) Close() error {
	if t == nil {
		return nil
	}
	return errors.Join(unix.Munmap(t.mem), unix.Close(t.fd))
}
