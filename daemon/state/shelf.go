package state

import (
	"golang.org/x/sys/unix"
)

// The beginning of a message that was taken from its socket before its end came lies on a shelf, in the file behind the slots: the
// kernel would not give it again.

// Shelve keeps data, which begins at base in the client's stream and was or will be taken from the socket next, in place of what was
// kept before. It is called before the bytes are taken. Of what is too long nothing is kept.
func (s *Slot) Shelve(base int64, data []byte) {
	if s == nil {
		return
	}
	have := int(s.at.shelved.Load())
	if have == 0 && len(data) == 0 { // as nearly always
		s.at.base.Store(base)
		return
	}
	if s.at.base.Load() != base {
		have = 0
	}
	have = min(have, len(data)) // a process that was killed may have kept more than it took
	s.Extend(base, have, data[have:])
}

// Extend is Shelve for data of which the first have bytes are kept already, by the calls before, perhaps with more behind them that a
// process had not taken when it was killed: more is the rest of it. It reports whether all is kept.
func (s *Slot) Extend(base int64, have int, more []byte) (kept bool) {
	if s == nil || s.file.header().shelves == 0 {
		return false
	}
	if have == 0 && !s.keeps(base, 0) {
		s.empty()
		s.at.base.Store(base)
	}
	if s.at.base.Load() != base || int64(have) > s.at.shelved.Load() || have+len(more) > shelfSize || !s.write(more, have) {
		s.empty() // what is not kept is lost in a crash, and in no other way
		return false
	}
	s.at.shelved.Store(int64(have + len(more)))
	return true
}

// keeps says whether n bytes are kept from base on.
func (s *Slot) keeps(base int64, n int) bool {
	return s.at.base.Load() == base && s.at.shelved.Load() == int64(n)
}

// write puts data into the shelf, and says false when there is no memory.
func (s *Slot) write(data []byte, at int) bool {
	for len(data) > 0 {
		n, err := unix.Pwrite(s.file.fd, data, s.shelf()+int64(at))
		if err != nil && err != unix.EINTR || n == 0 {
			return false
		}
		n = max(n, 0)
		data, at = data[n:], at+n
	}
	return true
}

// Shelved says whether n bytes are kept from base on.
func (s *Slot) Shelved(base int64, n int) bool {
	return s != nil && s.keeps(base, n) && n > 0
}

// Shelf returns what is kept of the stream before an offset, up to which it was taken from the socket, and where that begins; nil
// when it does not reach so far, or nothing is kept.
func (s *Slot) Shelf(taken int64) (data []byte, base int64) {
	if s == nil || s.file.header().shelves == 0 {
		return nil, 0
	}
	base = s.at.base.Load()
	n, most := taken-base, s.at.shelved.Load()
	if n <= 0 || n > most || most > shelfSize {
		return nil, 0
	}
	data = make([]byte, n)
	for at := 0; at < len(data); {
		got, err := unix.Pread(s.file.fd, data[at:], s.shelf()+int64(at))
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
func (s *Slot) empty() {
	n := s.at.shelved.Swap(0)
	if n == 0 || s.file.header().shelves == 0 {
		return
	}
	size := (min(n, shelfSize) + pageSize - 1) / pageSize * pageSize
	_ = unix.Fallocate(s.file.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, s.shelf(), size) // else the next long message uses it
}
