package state

import (
	"golang.org/x/sys/unix"
)

// A session may take the beginning of a message from its socket before the end of the message has
// come. The kernel does not return these bytes again, so each slot has a shelf for them, in the
// file after the slots.

// Tests replace these, to look at the file whenever it is about to change.
var pwrite, fallocate = unix.Pwrite, unix.Fallocate

// Extend is Shelve for data whose first have bytes are kept already. more is the rest of the data.
// The shelf may have other bytes after the first have, which a process had not taken yet when it
// was killed. Extend reports whether all is kept.
func (s *Slot) Extend(base int64, have int, more []byte) (kept bool) {
	switch {
	case s == nil || s.file.header().shelves == 0:
		return false
	case s.extend(base, have, more):
		return true
	}
	s.empty() // the bytes are lost only if the process crashes
	return false
}

// extend is Extend, but does not empty the shelf after a failure. The process may be killed at any
// point: bytes from base on that are kept stay kept all the time, because the kernel may not have
// them any more.
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

// goesBefore reports whether n bytes from base on fit in the beginning of the shelf, before the
// bytes that have to stay there.
func (s *Slot) goesBefore(base int64, n int) bool {
	return n > 0 && int64(n) <= base-s.at.base.Load()
}

// put writes data to the shelf. It becomes the end of what is kept.
func (s *Slot) put(at int64, data []byte) (kept bool) {
	end := at + int64(len(data))
	if end > shelfSize || !s.write(data, at) {
		return false
	}
	s.at.shelved.Store(end)
	return true
}

// behind returns how many bytes are kept from base on.
func (s *Slot) behind(base int64) int {
	before := base - s.at.base.Load()
	if before < 0 {
		return 0
	}
	return int(max(s.at.shelved.Load()-before, 0))
}

// write writes data to the shelf. It returns false if there is no memory.
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

// Shelved reports whether exactly n bytes are kept from base on.
func (s *Slot) Shelved(base int64, n int) bool {
	return s != nil && n > 0 && s.behind(base) == n
}

// Behind returns how many bytes are kept from base on.
func (s *Slot) Behind(base int64) int {
	if s == nil {
		return 0
	}
	return s.behind(base)
}

// Shelf returns the bytes that are kept of the stream before offset taken, up to which the stream
// was taken from the socket; and their offset, which is the base of the last Shelve, or the offset
// of a later Count. It returns nil if the shelf does not reach that far, or is empty.
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

// shelf returns where the slot's shelf begins in the file.
func (s *Slot) shelf() int64 { return int64(s.file.header().shelves) + int64(s.i)*shelfSize }

// empty empties the shelf.
func (s *Slot) empty() { s.keep(0) }

// keep shortens the shelf to its first n bytes.
func (s *Slot) keep(n int64) {
	end := min(s.at.shelved.Swap(n), shelfSize)
	from, to := wholePages(n), wholePages(end)
	if from >= to || s.file.header().shelves == 0 {
		return
	}
	const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	// Else the next long message uses the memory.
	_ = fallocate(s.file.fd, mode, s.shelf()+from, to-from)
}

// wholePages rounds n up to a multiple of the page size.
func wholePages(n int64) int64 { return (n + pageSize - 1) / pageSize * pageSize }
