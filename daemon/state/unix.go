package state

import (
	"fmt"
	"sync/atomic"
	"unsafe"
)

const unixMagic = 0x0a5849_4e5550434d // "MCPUNIX\n"

// Unix is the file with the state of connections of unix sockets: what the kernel does not tell of
// them, as it does of TCP. It is a file of its own, as slots have no room for that and versions
// before 0.3 do not know it. An entry that was never taken needs no memory. The methods may be
// called from any goroutine.
type Unix struct {
	table[unixEntry, *unixEntry]
}

// NewUnix makes a file with the given number of entries.
func NewUnix(entries int) (*Unix, error) {
	u := new(Unix)
	if err := u.create("tcpmux-unix", unixMagic, entries); err != nil {
		return nil, err
	}
	return u, nil
}

// OpenUnix takes over the file of another process, and closes it after an error. From now on the
// Unix owns the descriptor. Find returns the entries that the process left, and Forget frees the
// others.
func OpenUnix(fd int) (*Unix, error) {
	u := new(Unix)
	if err := u.open(fd, unixMagic); err != nil {
		return nil, fmt.Errorf("state of connections of unix sockets: %w", err)
	}
	return u, nil
}

// Take returns an entry for a connection of which nothing was taken; nil if no entry is free.
func (u *Unix) Take(cookie uint64) *UnixEntry {
	if u == nil {
		return nil
	}
	i, ok := u.take(cookie)
	if !ok {
		return nil
	}
	return &UnixEntry{u, u.at(i), i}
}

// Find returns the entry that another process left for a connection, once; nil if there is no such
// entry. Its Settle is to be called before anything is taken from the socket.
func (u *Unix) Find(cookie uint64) *UnixEntry {
	if u == nil {
		return nil
	}
	i, ok := u.find(cookie)
	if !ok {
		return nil
	}
	return &UnixEntry{u, u.at(i), i}
}

// Forget frees the entries that Find has not returned: their connections no longer exist.
func (u *Unix) Forget() {
	if u != nil {
		u.forget()
	}
}

// Close closes the file. It survives while another process has it. No entry may be used afterwards.
func (u *Unix) Close() error {
	if u == nil {
		return nil
	}
	return u.close()
}

const unixEntrySize = 64

// unixEntry is a UnixEntry in the file. The process may be killed between any two writes, so each
// field is valid on its own.
type unixEntry struct {
	cookie atomic.Uint64 // 0: free
	offset atomic.Uint64 // bytes of the stream that were taken from the socket
	// Beyond offset: what offset is once the bytes under way are taken.
	target atomic.Uint64
	ahead  atomic.Uint64 // the socket's SO_PEEK_OFF before any of these is taken
	sent   atomic.Uint64 // 1: something was sent
	_      [24]byte
}

var _ [unixEntrySize]byte = [unsafe.Sizeof(unixEntry{})]byte{}

// UnixEntry is the state of one connection of a unix socket. It is for one goroutine at a time, but
// for Sent. The methods of a nil UnixEntry do nothing and return zero values.
type UnixEntry struct {
	file *Unix
	at   *unixEntry
	i    int32
}

// Taking notes that up to n bytes of the stream are about to be taken from the socket, whose
// SO_PEEK_OFF (socket(7)) is ahead, n or more. The kernel lowers it by what is taken, in the same
// moment: so the next process knows how much that was. Taken has to follow before SO_PEEK_OFF
// changes in another way.
func (e *UnixEntry) Taking(n, ahead int) {
	if e == nil {
		return
	}
	store(&e.at.ahead, uint64(ahead)) // first: it counts once there is a target
	store(&e.at.target, e.at.offset.Load()+uint64(n))
}

// Taken notes that n of them were taken.
func (e *UnixEntry) Taken(n int) {
	if e != nil {
		e.moveTo(e.at.offset.Load() + uint64(n))
	}
}

// moveTo notes how many bytes of the stream were taken, which is what Consumed returned before.
func (e *UnixEntry) moveTo(offset uint64) {
	if e.at.target.Load() != offset {
		store(&e.at.target, offset)
	}
	if e.at.offset.Load() != offset {
		store(&e.at.offset, offset)
	}
}

// Settle returns how many bytes of the stream were taken from the socket, whose SO_PEEK_OFF the
// previous process has left at ahead, and notes that: after it, SO_PEEK_OFF may be changed.
func (e *UnixEntry) Settle(ahead int) int64 {
	if e == nil {
		return 0
	}
	e.moveTo(e.consumed(ahead))
	return int64(e.at.offset.Load())
}

// consumed returns what Settle does.
func (e *UnixEntry) consumed(ahead int) uint64 {
	offset, target := e.at.offset.Load(), e.at.target.Load()
	if target <= offset {
		return offset
	}
	taken := int64(e.at.ahead.Load()) - int64(ahead)
	return offset + min(uint64(max(taken, 0)), target-offset)
}

// Sound reports whether the entry can be what a process has left.
func (e *UnixEntry) Sound() bool {
	return e != nil && int64(e.at.offset.Load()) >= 0 && int64(e.at.target.Load()) >= 0
}

// SetSent notes that something was sent to the client. It may be called from any goroutine.
func (e *UnixEntry) SetSent() {
	if e != nil {
		store(&e.at.sent, 1)
	}
}

// Sent reports whether SetSent was called.
func (e *UnixEntry) Sent() bool { return e != nil && e.at.sent.Load() != 0 }

// Free frees the entry. It must not be used afterwards.
func (e *UnixEntry) Free() {
	if e != nil {
		e.file.release(e.i)
	}
}

func (e *unixEntry) owner() *atomic.Uint64 { return &e.cookie }

// clear empties the entry. The cookie comes first, so that a half-empty entry is free.
func (e *unixEntry) clear() {
	store(&e.cookie, 0)
	store(&e.offset, 0)
	store(&e.target, 0)
	store(&e.ahead, 0)
	store(&e.sent, 0)
}
