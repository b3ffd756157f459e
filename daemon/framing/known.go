package framing

import "bytes"

// known is what a framer has to know of bytes that it has taken. The zero value is nothing.
type known struct {
	// which is the index of a delimiter, and one.
	which uint8
	// n is how many bytes of it were the last ones of a piece, or, if which is 0, how many of
	// the start were the last ones between messages. If it is 0, all of the delimiter has ended
	// a message.
	n uint8
}

// mayGoOn reports whether b may go on with the rest of a delimiter that is longer than the one that
// has ended the message before. It is for framers without a start.
func (s *sequences) mayGoOn(b []byte) bool {
	return s.before.which > 0 && s.mayFollow(s.before.which-1, b)
}

// rest returns how many of the first bytes of b follow the delimiter that has ended the message
// before, in a longer one, and the index of that delimiter, and one; 0 for none.
func (s *sequences) rest(b []byte) (n int, which uint8) {
	for which = s.before.which; which > 0 && s.mayFollow(which-1, b[n:]); {
		past := len(s.all[which-1])
		// Most often there is one, of one byte more, such as CRLF after CR.
		if longer := s.longer[which-1]; len(longer) == 1 && len(s.all[longer[0]]) == past+1 {
			which, n = longer[0]+1, n+1
			continue
		}
		next, size := uint8(0), 0
		for _, i := range s.longer[which-1] {
			rest := s.all[i][past:]
			if (next == 0 || len(rest) < size) && bytes.HasPrefix(b[n:], rest) {
				next, size = i+1, len(rest)
			}
		}
		// Or a whole message comes first.
		if next == 0 || size > 1 && s.ends(b[n:n+size-1]) {
			break
		}
		which, n = next, n+size
	}
	return n, which
}

// ends reports whether a delimiter is complete in b.
func (s *sequences) ends(b []byte) bool {
	end, _ := s.first(b)
	return end >= 0
}

// straddling returns how many bytes of b complete a delimiter that begins in the piece before, and
// its index. It returns 0 if there is none, or another one is complete earlier.
func (s *sequences) straddling(b []byte) (int, int) {
	var buf [2 * MaxDelimiter]byte
	past := s.past()
	both := append(append(buf[:0], past...), b[:min(len(b), MaxDelimiter-1)]...)
	end, which := s.first(both)
	if end <= len(past) || end-len(s.all[which]) >= len(past) { // it begins in b
		return 0, 0
	}
	return end - len(past), which
}

// past returns the beginning of a delimiter that the piece before has ended with.
func (s *sequences) past() []byte {
	if s.before.n == 0 || s.before.which == 0 {
		return nil
	}
	return s.all[s.before.which-1][:s.before.n]
}

// undecided reports whether data, in which no delimiter is complete, may be at most max bytes and
// the beginning of a delimiter; or the rest of one that has ended the message before.
func (s *sequences) undecided(data []byte) bool {
	for _, one := range s.all {
		for n := min(len(data), len(one)-1); n > 0 && len(data)-n <= s.max; n-- {
			if bytes.HasSuffix(data, one[:n]) {
				return true
			}
		}
	}
	switch {
	case len(data) >= MaxDelimiter:
	case s.cutting && s.before.n > 0:
		var buf [2 * MaxDelimiter]byte
		both := append(append(buf[:0], s.past()...), data...)
		_, n := s.begun(both)
		return n > len(data)
	case !s.cutting && s.before.which > 0:
		return s.continues(data)
	}
	return false
}

// continues reports whether data may become the rest of a delimiter that begins with the one that
// has ended the message before.
func (s *sequences) continues(data []byte) bool {
	past := len(s.all[s.before.which-1])
	for _, i := range s.longer[s.before.which-1] {
		if bytes.HasPrefix(s.all[i][past:], data) {
			return true
		}
	}
	return false
}

// endsIn returns what is to be known of a piece that ends with data, after past.
func (s *sequences) endsIn(past, data []byte) known {
	var buf [2 * MaxDelimiter]byte
	if len(data) < MaxDelimiter {
		data = append(append(buf[:0], past...), data...)
	}
	which, n := s.begun(data)
	if n == 0 {
		return known{}
	}
	return known{uint8(which + 1), uint8(n)}
}

// Memory implements Framer. Bit 0 is set between the first and the last piece of a message; five
// bits after it are known.n, and those from bit 8 on are known.which.
func (s *sequences) Memory() int64 {
	m := int64(s.before.which)<<8 | int64(s.before.n)<<1
	if s.cutting {
		m |= 1
	}
	return m
}

// Recall implements Framer.
func (s *sequences) Recall(m int64) {
	s.cutting, s.before, s.until = m&1 != 0, known{}, 0
	which, n := m>>8, m>>1&0x1f
	switch {
	case m < 0, m>>6&3 != 0, which > int64(len(s.all)):
		return
	case which == 0:
		if s.cutting || n >= int64(len(s.start)) {
			return
		}
	case s.cutting && (n == 0 || n >= int64(len(s.all[which-1]))), !s.cutting && (n > 0 || len(s.start) > 0):
		return
	}
	s.before = known{uint8(which), uint8(n)}
}
