package state

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"
)

// slot is how a Slot lies in the file. Its fields are read and written one by one, as a process may be killed between any two.
type slot struct {
	cookie  atomic.Uint64 // 0: free
	opened  atomic.Int64  // Unix nanoseconds; 0: not recorded as open yet
	turn    atomic.Uint64 // which of tallies holds, by its parity
	tallies [2]tally
	flags   atomic.Uint32
	crashes atomic.Uint32
	client  [2]atomic.Uint64 // the address of whom a proxy speaks for, in network order
	front   atomic.Uint64    // its port, the size of the proxy's header << 16, and the flags of front; 0: none has come
	base    atomic.Int64     // where in the client's stream what is shelved begins
	shelved atomic.Int64     // how many bytes that are
	marked  atomic.Uint64    // the cookie of whose marks those are: before version 2 there were none, and nobody cleared them
	marks   [2]mark
}

// tally is what a session has come to.
type tally struct{ offset, records, framing, pieces atomic.Int64 }

// mark is what a session has come to once the records before a position of the journal are written.
type mark struct {
	offset, records atomic.Int64
	at              atomic.Uint64 // the position << 2, and flags of marks; 0: there is no mark
}

// Flags of marks.
const (
	markOpened = 1 << iota // among the records is that of the session's opening
	markClosed             // or of its end
	markShift  = iota
)

var _ [slotSize]byte = [unsafe.Sizeof(slot{})]byte{}

const (
	flagClosed = 1 << iota // its end is recorded
	flagBusy               // its bytes are being made into records
	flagPanic              // and that has brought the process down
	panicUnit              // from this one on they count how many processes in a row, as far as there is room

	originShift = 8 // above the flags is where its settings come from; 0: it is not known

	panicMask = 1<<originShift - panicUnit
)

// Flags of front.
const (
	frontHasClient = 1 << (32 + iota) // there is an address
	frontIsIPv4
)

// Slot is what is kept of one connection. Its methods are called by one goroutine at a time. Those of a nil Slot do nothing.
type Slot struct {
	file *File
	at   *slot
	i    int32
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
		t.pieces.Store(0)
	}
	s.at.flags.Store(0)
	s.at.crashes.Store(0)
	s.at.front.Store(0)
	for i := range s.at.client {
		s.at.client[i].Store(0)
	}
	s.empty()
	s.at.base.Store(0)
	s.unmark()
}

// unmark has the slot bear no marks but those of its present connection.
func (s *Slot) unmark() {
	for i := range s.at.marks {
		s.at.marks[i].at.Store(0)
	}
	s.at.marked.Store(s.at.cookie.Load())
}

// Written is what a session has come to by the records that are written, or will be whatever becomes of the process: before which
// offset of the client's stream, how many messages, and whether the session's opening and its end are among them.
type Written struct {
	Offset, Records int64
	Opened, Closed  bool
}

// Mark notes what a session has come to once all records before a position of the journal, beyond that of the call before, are written.
func (s *Slot) Mark(w Written, position int64) {
	if s == nil {
		return
	}
	m := &s.at.marks[0]
	if last := s.at.marks[1].at.Load(); m.at.Load() > last {
		m = &s.at.marks[1]
	}
	m.at.Store(0) // first: half of a mark is none
	m.offset.Store(w.Offset)
	m.records.Store(w.Records)
	at := uint64(position) << markShift
	if w.Opened {
		at |= markOpened
	}
	if w.Closed {
		at |= markClosed
	}
	m.at.Store(at)
}

// Written is what the last Mark has noted that Settle lets stand; the zero value when there is none.
func (s *Slot) Written() Written {
	if s == nil {
		return Written{}
	}
	m := &s.at.marks[0]
	if next := &s.at.marks[1]; next.at.Load() > m.at.Load() {
		m = next
	}
	at := m.at.Load()
	if at == 0 {
		return Written{}
	}
	return Written{m.offset.Load(), m.records.Load(), at&markOpened != 0, at&markClosed != 0}
}

// settle forgets the marks whose records were not written up to a position, and notes what the others say.
func (s *Slot) settle(position int64, now time.Time) {
	if s.at.marked.Load() != s.at.cookie.Load() {
		s.unmark()
		return
	}
	for i := range s.at.marks {
		if m := &s.at.marks[i]; m.at.Load()>>markShift > uint64(position) {
			m.at.Store(0)
		}
	}
	w := s.Written()
	if w.Opened && s.at.opened.Load() == 0 {
		s.Open(now)
	}
	if w.Closed {
		s.SetClosed()
	}
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

// Tally is what a session has come to: at which offset of the client's stream, in bytes, how many records, what its framing has to
// know beside the bytes, and how many bytes before that offset are pieces of a message whose end is still to come, where those are
// acknowledged.
type Tally struct{ Offset, Records, Framing, Pieces int64 }

// Count notes how far the session has come. Killed in the middle, it is at the one before.
func (s *Slot) Count(t Tally) {
	if s == nil {
		return
	}
	if t.Offset != s.Tally().Offset && s.at.crashes.Load() != 0 {
		s.at.crashes.Store(0)
		s.at.flags.And(^uint32(panicMask))
	}
	turn := s.at.turn.Load() + 1
	to := &s.at.tallies[turn&1]
	to.offset.Store(t.Offset)
	to.records.Store(t.Records)
	to.framing.Store(t.Framing)
	to.pieces.Store(t.Pieces)
	s.at.turn.Store(turn)
}

// Tally is what Count noted last.
func (s *Slot) Tally() Tally {
	if s == nil {
		return Tally{}
	}
	from := &s.at.tallies[s.at.turn.Load()&1]
	return Tally{from.offset.Load(), from.records.Load(), from.framing.Load(), from.pieces.Load()}
}

// SetOrigin notes which settings the session began with, by a number of at most MaxOrigin that Settings explain.
func (s *Slot) SetOrigin(origin uint32) {
	if s == nil || s.Origin() == origin {
		return
	}
	s.at.flags.And(1<<originShift - 1)
	s.at.flags.Or(origin << originShift)
}

// Origin is what SetOrigin noted; 0 when nothing was.
func (s *Slot) Origin() uint32 {
	if s == nil {
		return 0
	}
	return s.at.flags.Load() >> originShift
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

// SetPanic notes that making records of the connection's bytes brings the process down.
func (s *Slot) SetPanic() { s.flag(flagPanic, true) }

// Crashed counts, once a process has left the connection, how many in a row have ended while they were busy with it, and Count has
// not come any further meanwhile; and in how many of these SetPanic has said that it was the cause. The others may have been killed.
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
