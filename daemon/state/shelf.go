package state

import (
	"golang.org/x/sys/unix"
)

// The beginning of a message that was taken from its socket before its end came lies on a shelf, in the file behind the slots: the
// kernel would not give it again.

// Tests look at the file whenever it is about to change.
var pwrite, fallocate = unix.Pwrite, unix.Fallocate

// Shelve keeps data, which begins at base in the client's stream and was or will be taken from the socket next, in place of what was
// kept before. It is called before the bytes are taken, and after Count, when the session has come to base by what it has recorded. Of
// what is too long nothing is kept.
func (s *Slot) Shelve(base int64, data []byte) {
	if s == nil {
		return
	}
	if s.at.shelved.Load() == 0 && len(data) == 0 { // as nearly always
		s.at.base.Store(base)
		return
	}
	have := min(s.behind(base), len(data)) // a process that was killed may have kept more than it took
	if s.goesBefore(base, len(data)) {
		have = 0
	}
	s.Extend(base, have, data[have:])
}

// Extend is Shelve for data of which the first have bytes are kept already, by the calls before, perhaps with more behind them that a
// process had not taken when it was killed: more is the rest of it. It reports whether all is kept.
func (s *Slot) Extend(base int64, have int, more []byte) (kept bool) {
	switch {
	case s == nil || s.file.header().shelves == 0:
		return false
	case s.extend(base, have, more):
		return true
	}
	s.empty() // what is not kept is lost in a crash, and in no other way
	return false
}

// extend is Extend, but for what becomes of the shelf after a failure. A process may be killed at any point of it: what is kept of the
// stream behind base, which may be out of the kernel already, stays kept all the time.
func (s *Slot) extend(base int64, have int, more []byte) (kept bool) {
	old, behind := s.at.base.Load(), s.behind(base)
	switch before := base - old; {
	case have > behind:
		return false
	case behind == 0 || have+len(more) == 0:
		s.empty()
		s.at.base.Store(base)
		return s.put(0, more)
	case have == 0 && s.goesBefore(base, len(more)):
		if !s.write(more, 0) {
			return false
		}
		s.at.base.Store(base)
		s.keep(int64(len(more)))
		return true
	default:
		return s.put(before+int64(have), more)
	}
}

// goesBefore reports whether n bytes from base on find room at the beginning of the shelf before those that have to stay there.
func (s *Slot) goesBefore(base int64, n int) bool {
	return n > 0 && int64(n) <= base-s.at.base.Load()
}

// put puts data at a place of the shelf, as the last of what is kept.
func (s *Slot) put(at int64, data []byte) (kept bool) {
	end := at + int64(len(data))
	if end > shelfSize || !s.write(data, at) {
		return false
	}
	s.at.shelved.Store(end)
	return true
}

// behind is how many bytes are kept from base on.
func (s *Slot) behind(base int64) int {
	before := base - s.at.base.Load()
	if before < 0 {
		return 0
	}
	return int(max(s.at.shelved.Load()-before, 0))
}

// write puts data into the shelf, and says false when there is no memory.
func (s *Slot) write(data []byte, at int64) bool {
	for len(data) > 0 {
		n, err := pwrite(s.file.fd, data, s.shelf()+at)
		if err != nil && err != unix.EINTR || n == 0 {
			return false
		}
		n = max(n, 0)
		data, at = data[n:], at+int64(n)
	}
	return true
}

// Shelved says whether n bytes are kept from base on.
func (s *Slot) Shelved(base int64, n int) bool {
	return s != nil && n > 0 && s.behind(base) == n
}

// Shelf returns what is kept of the stream before an offset, up to which it was taken from the socket, and where that begins: at the
// base of the last Shelve, or further on, where Count has noted more by then. It is nil when it does not reach so far, or nothing is kept.
func (s *Slot) Shelf(taken int64) (data []byte, base int64) {
	if s == nil || s.file.header().shelves == 0 {
		return nil, 0
	}
	begin, most := s.at.base.Load(), s.at.shelved.Load()
	base = max(begin, s.Tally().Offset)
	if base >= taken || taken-begin > most || most > shelfSize {
		return nil, 0
	}
	data = make([]byte, taken-base)
	for at := 0; at < len(data); {
		got, err := unix.Pread(s.file.fd, data[at:], s.shelf()+base-begin+int64(at))
		if err != nil && err != unix.EINTR || got == 0 {
			return nil, 0
		}
		at += max(got, 0)
	}
	return data, base
}

// shelf is where the slot's begins in the file.
func (s *Slot) shelf() int64 { return int64(s.file.header().shelves) + int64(s.i)*shelfSize }

// empty lets go of what is kept.
func (s *Slot) empty() { s.keep(0) }

// keep lets go of what is kept, but for the first n bytes.
func (s *Slot) keep(n int64) {
	end := min(s.at.shelved.Swap(n), shelfSize)
	from, to := wholePages(n), wholePages(end)
	if from >= to || s.file.header().shelves == 0 {
		return
	}
	_ = fallocate(s.file.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, s.shelf()+from, to-from) // else the next long message uses it
}

// wholePages is how many bytes the pages have that hold n.
func wholePages(n int64) int64 { return (n + pageSize - 1) / pageSize * pageSize }
