package state

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"
)

// slot is a Slot in the file. The process may be killed between any two writes, so each field is
// valid on its own.
type slot struct {
	cookie atomic.Uint64 // 0: free
	// Unix nanoseconds; 0: unknown, and the opening is not recorded yet.
	opened     atomic.Int64
	generation atomic.Uint64 // its parity is the index of the valid tally
	tallies    [2]tally
	flags      atomic.Uint32
	crashes    atomic.Uint32
	// client is the address of the client that a PROXY header named, in network order.
	client [2]atomic.Uint64
	// proxyHeader is the port of that client, the size of the header << 16, flags, and what
	// SetNamed notes. 0: no header has come.
	proxyHeader atomic.Uint64
	base        atomic.Int64 // the offset in the client's stream at which the shelf begins
	shelved     atomic.Int64 // how many bytes are on the shelf
	// marked is the cookie of the connection of marks. Version 1 has no marks, and does not
	// clear them.
	marked atomic.Uint64
	marks  [2]mark
}

// tally is a Tally in the file.
type tally struct{ offset, records, framing, pieces atomic.Int64 }

var _ [slotSize]byte = [unsafe.Sizeof(slot{})]byte{}

const (
	flagClosed = 1 << iota // the end of the session is recorded
	flagBusy               // bytes of the connection are being made into records
	flagPanic              // that has crashed the process
	// From this bit on: how many processes in a row it has crashed, saturating.
	panicUnit

	originShift = 8 // above the flags: the origin of the settings; 0: unknown

	panicMask = 1<<originShift - panicUnit
)

// Flags of proxyHeader.
const (
	proxyHasClient = 1 << (32 + iota) // client is an address
	proxyIsIPv4
	// openHeld is not of the header, but this word has had room in all versions: the record of
	// the opening is held until the client sends something.
	openHeld
	// killed is not of the header either: an administrator has ended the session. Versions
	// before 0.3 do not look at it, and serve the client on.
	killed
	// speaksTLS is not of the header either: with it, flagClosed is there for versions before
	// 0.3 only.
	speaksTLS
)

// Slot is the state of one connection. It is for one goroutine at a time, but for SetKilled. The
// methods of a nil Slot do nothing and return zero values.
type Slot struct {
	file *File
	at   *slot
	i    int32
}

// Cookie returns the cookie of the connection.
func (s *Slot) Cookie() uint64 { return s.at.cookie.Load() }

// Free frees the slot. It must not be used afterwards.
func (s *Slot) Free() {
	if s == nil {
		return
	}
	s.clear()
	s.file.mu.Lock()
	defer s.file.mu.Unlock()
	s.file.free = append(s.file.free, s.i)
}

// clear empties the slot. The cookie comes first, so that a half-empty slot is free.
func (s *Slot) clear() {
	s.at.cookie.Store(0)
	s.at.opened.Store(0)
	s.at.generation.Store(0)
	for i := range s.at.tallies {
		t := &s.at.tallies[i]
		t.offset.Store(0)
		t.records.Store(0)
		t.framing.Store(0)
		t.pieces.Store(0)
	}
	s.at.flags.Store(0)
	s.at.crashes.Store(0)
	s.at.proxyHeader.Store(0)
	for i := range s.at.client {
		s.at.client[i].Store(0)
	}
	s.empty()
	s.at.base.Store(0)
	s.unmark()
}

// SetClient notes the client that a PROXY header named, or the zero value if it named none, and the
// size of the header in bytes, 1 to 65535.
func (s *Slot) SetClient(client netip.AddrPort, size int) {
	if s == nil {
		return
	}
	header := uint64(client.Port()) | uint64(uint16(size))<<16
	if addr := client.Addr(); addr.IsValid() {
		bytes := addr.As16()
		s.at.client[0].Store(binary.BigEndian.Uint64(bytes[:8]))
		s.at.client[1].Store(binary.BigEndian.Uint64(bytes[8:]))
		if header |= proxyHasClient; addr.Is4() {
			header |= proxyIsIPv4
		}
	}
	s.at.proxyHeader.And(openHeld | killed | speaksTLS | namedMask)
	s.at.proxyHeader.Or(header)
}

// Client returns what SetClient noted. The size is 0 if SetClient was not called.
func (s *Slot) Client() (client netip.AddrPort, size int) {
	if s == nil {
		return client, 0
	}
	header := s.at.proxyHeader.Load()
	if header&proxyHasClient != 0 {
		var bytes [16]byte
		binary.BigEndian.PutUint64(bytes[:8], s.at.client[0].Load())
		binary.BigEndian.PutUint64(bytes[8:], s.at.client[1].Load())
		addr := netip.AddrFrom16(bytes)
		if header&proxyIsIPv4 != 0 {
			addr = addr.Unmap()
		}
		client = netip.AddrPortFrom(addr, uint16(header))
	}
	return client, int(header >> 16 & 0xffff)
}

// Open notes when the connection was opened, and that this is recorded.
func (s *Slot) Open(at time.Time) {
	if s != nil {
		s.at.opened.Store(at.UnixNano())
		s.at.proxyHeader.And(^uint64(openHeld))
	}
}

// Hold notes when the connection was opened, and that this is not recorded yet. It is called after
// SetClient.
func (s *Slot) Hold(at time.Time) {
	if s != nil {
		s.at.proxyHeader.Or(openHeld)
		s.at.opened.Store(at.UnixNano())
	}
}

// Opened returns when the connection was opened; the zero time if that is not recorded, or unknown.
func (s *Slot) Opened() time.Time {
	if s == nil || s.at.proxyHeader.Load()&openHeld != 0 {
		return time.Time{}
	}
	return s.Began()
}

// Began is Opened, also if the opening is not recorded yet (Hold).
func (s *Slot) Began() time.Time {
	if s == nil || s.at.opened.Load() == 0 {
		return time.Time{}
	}
	return time.Unix(0, s.at.opened.Load())
}

// Tally is the progress of a session.
type Tally struct {
	// Offset is the offset of the client's stream, in bytes, up to which it is recorded.
	Offset int64
	// Records is the number of records.
	Records int64
	// Framing is what the framing has to know in addition to the bytes (framing.Framer.Memory).
	Framing int64
	// Pieces is how many bytes before Offset are pieces of a message whose end is still to
	// come. It is 0 if messages are not acknowledged.
	Pieces int64
}

// Count notes the progress of the session. If the process is killed in the middle, the previous
// progress remains.
func (s *Slot) Count(t Tally) {
	if s == nil {
		return
	}
	if t.Offset != s.Tally().Offset && s.at.crashes.Load() != 0 {
		s.at.crashes.Store(0)
		s.at.flags.And(^uint32(panicMask))
	}
	generation := s.at.generation.Load() + 1
	to := &s.at.tallies[generation&1]
	to.offset.Store(t.Offset)
	to.records.Store(t.Records)
	to.framing.Store(t.Framing)
	to.pieces.Store(t.Pieces)
	s.at.generation.Store(generation)
}

// Tally returns what Count noted last.
func (s *Slot) Tally() Tally {
	if s == nil {
		return Tally{}
	}
	from := &s.at.tallies[s.at.generation.Load()&1]
	return Tally{from.offset.Load(), from.records.Load(), from.framing.Load(), from.pieces.Load()}
}

// SetOrigin notes which settings the session began with: a number of Settings, at most MaxOrigin.
func (s *Slot) SetOrigin(origin uint32) {
	if s == nil || s.Origin() == origin {
		return
	}
	for { // in one step, as the process may be killed between two
		now := s.at.flags.Load()
		if s.at.flags.CompareAndSwap(now, now&(1<<originShift-1)|origin<<originShift) {
			return
		}
	}
}

// Origin returns what SetOrigin noted; 0 if it was not called.
func (s *Slot) Origin() uint32 {
	if s == nil {
		return 0
	}
	return s.at.flags.Load() >> originShift
}

// Shelve keeps data, which begins at offset base of the client's stream, instead of what was kept
// before. The session calls it before it takes the bytes from the socket, and after Count if it has
// recorded everything up to base. If data is too long, nothing is kept.
func (s *Slot) Shelve(base int64, data []byte) {
	if s == nil {
		return
	}
	if s.at.shelved.Load() == 0 && len(data) == 0 { // the usual case
		s.at.base.Store(base)
		return
	}
	have := min(s.behind(base), len(data)) // a killed process may have kept more than it took
	if s.goesBefore(base, len(data)) {
		have = 0
	}
	s.Extend(base, have, data[have:])
}

// SetClosed notes that the end of the session is recorded.
func (s *Slot) SetClosed() {
	if s.flag(flagClosed, true); s.survivesClosed() {
		s.at.proxyHeader.And(^uint64(speaksTLS | namedMask))
	}
}

// Closed reports whether the end of the session is recorded.
func (s *Slot) Closed() bool {
	return s != nil && s.at.flags.Load()&flagClosed != 0 && !s.survivesClosed()
}

// SetTLS notes that the connection speaks TLS, so that no process takes what it sends for clear
// text. Versions before 0.3, which could not tell, find a connection whose end is recorded, and
// close it.
func (s *Slot) SetTLS() {
	if s != nil {
		s.at.proxyHeader.Or(speaksTLS)
		s.flag(flagClosed, true)
	}
}

// TLS reports whether SetTLS was called, and not SetClosed since.
func (s *Slot) TLS() bool { return s != nil && s.at.proxyHeader.Load()&speaksTLS != 0 }

// SetKilled notes that the session is to end, whichever process has it. It may be called by any
// goroutine until Free.
func (s *Slot) SetKilled() {
	if s != nil {
		s.at.proxyHeader.Or(killed)
	}
}

// Killed reports whether SetKilled was called.
func (s *Slot) Killed() bool { return s != nil && s.at.proxyHeader.Load()&killed != 0 }

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

// SetPanic notes that making records of the connection's bytes crashes the process.
func (s *Slot) SetPanic() { s.flag(flagPanic, true) }

// Crashed is called once a process has ended. It returns how many processes in a row have ended
// while they were busy with the connection (SetBusy), without any progress (Count); and for how
// many of them SetPanic was called. The others may have been killed.
func (s *Slot) Crashed() (times, panics int) {
	if s == nil || s.at.flags.Load()&flagBusy == 0 {
		return 0, 0
	}
	if now := s.at.flags.Load(); now&flagPanic != 0 && now&panicMask != panicMask {
		s.at.flags.Add(panicUnit)
	}
	s.flag(flagBusy|flagPanic, false)
	return int(s.at.crashes.Add(1)), int(s.at.flags.Load() & panicMask / panicUnit)
}
