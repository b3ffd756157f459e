package framing

import "bytes"

// maxNoise is how many bytes in front of a start wait for it. They are few enough for HeadLen,
// together with a start.
const maxNoise = 64

// sequences cuts messages at delimiters of several bytes, or at several delimiters. A delimiter
// that is complete ends the message at once. If a longer one begins with it and the rest of that
// follows, the rest is in the head of the next message. With a start, so are all bytes in front of
// it.
type sequences struct {
	*Delimiters
	max int
	// cutting is true between the first and the last piece of a message.
	cutting bool
	// seen is how many bytes of the current message were searched for the end.
	seen int
	// taken is how many bytes Next has taken.
	taken int64
	// clear is up to where the stream does not contain each of single, counted as taken is. So
	// no byte is searched twice for one that does not come.
	clear [MaxDelimiters]int64
	// last is the index in single of the one that was found last. It is searched for behind the
	// others, which may not come at all.
	last uint8
	// before is what is known of the bytes before those that Next is given.
	before known
}

// known is what a framer has to know of bytes that it has taken. The zero value is nothing.
type known struct {
	// which is the index of a delimiter, and one.
	which uint8
	// n is how many bytes of it were the last ones of a piece, or, if which is 0, how many of
	// the start were the last ones between messages. If it is 0, all of the delimiter has ended
	// a message.
	n uint8
}

// Next implements Framer.
func (s *sequences) Next(b []byte) Message {
	m := s.next(b)
	s.taken += int64(m.Len())
	return m
}

func (s *sequences) next(b []byte) Message {
	head := 0
	switch {
	case !s.cutting && len(s.start) == 0:
		if !s.mayGoOn(b) { // most often
			break
		}
		if head, _ = s.rest(b); head == len(b) {
			return Message{Flag: Between}
		}
	case !s.cutting:
		var m Message
		if head, m = s.begin(b); head < 0 {
			return m
		}
	case s.before.n > 0:
		if end, which := s.straddling(b); end > 0 {
			return s.end(b[:end], 0, end, which)
		}
	}
	data := b[head:min(len(b), head+s.max+MaxDelimiter)]
	if end, which := s.search(b[:head+len(data)], head); end >= 0 {
		if n := len(s.all[which]); end-n <= s.max {
			return s.end(b[:head+end], head, n, which)
		}
	} else if len(data) <= s.max || s.undecided(data) {
		s.seen = len(data)
		return Message{}
	}
	s.cutting, s.seen, s.before = true, 0, known{}
	return Message{Raw: b[:head+s.max], HeadLen: uint8(head), Flag: Piece}
}

// search returns where in the data behind head bytes the first delimiter ends, as first does.
func (s *sequences) search(b []byte, head int) (end, which int) {
	if s.single == nil {
		from := max(0, min(s.seen, len(b)-head)-MaxDelimiter)
		if end, which = s.first(b[head+from:]); end < 0 {
			return -1, 0
		}
		return end + from, which
	}
	found, at := -1, len(b)
	for i := int(s.last) + 1; ; i++ {
		if i >= len(s.single) {
			i = 0
		}
		if from := int(max(int64(head), s.clear[i]-s.taken)); from < at {
			if n := bytes.IndexByte(b[from:at], s.single[i]); n >= 0 {
				found, at = i, from+n
			}
			s.clear[i] = s.taken + int64(at)
		}
		if i == int(s.last) {
			break
		}
	}
	if found < 0 {
		return -1, 0
	}
	s.last = uint8(found)
	return at + 1 - head, s.longest(&s.minimal[found], b[head:at+1])
}

// end ends the current message with raw, whose last bytes are a delimiter, or the rest of one.
func (s *sequences) end(raw []byte, head, tail, which int) Message {
	flag := Whole
	if s.cutting {
		flag = Cut
	}
	s.cutting, s.seen, s.before = false, 0, known{}
	if len(s.start) == 0 && len(s.longer[which]) > 0 {
		s.before.which = uint8(which + 1)
	}
	return Message{Raw: raw, HeadLen: uint8(head), EndLen: uint8(tail), Flag: flag}
}

// begin returns how many bytes precede the data of the message that begins in b, with a start. It
// returns -1 if none begins, and what Next returns instead.
func (s *sequences) begin(b []byte) (head int, instead Message) {
	if len(b) == 0 {
		return -1, Message{}
	}
	head, noise := s.begins(b)
	switch {
	case noise >= maxNoise:
		s.before = known{}
		return -1, alone(b[:maxNoise])
	case head == 0:
		return -1, Message{Flag: Between}
	}
	return head, Message{}
}

// begins returns where the first start ends, 0 if none is complete, and how many bytes are in front
// of it for certain. More of these than maxNoise are not counted.
func (s *sequences) begins(b []byte) (head, noise int) {
	if n := int(s.before.n); n > 0 { // the first bytes of a start were taken before
		if rest := s.joined(s.start[:n], b); rest > 0 {
			return rest, 0
		}
	}
	b = b[:min(len(b), maxNoise+len(s.start))]
	if i := bytes.Index(b, s.start); i >= 0 {
		return i + len(s.start), i
	}
	return 0, len(b) - begun(b, s.start)
}

// joined returns how many bytes of b complete a start whose beginning is in past; 0 if they do not.
func (s *sequences) joined(past, b []byte) int {
	var buf [2 * MaxDelimiter]byte
	both := append(append(buf[:0], past...), b[:min(len(b), len(s.start)-1)]...)
	if i := bytes.Index(both, s.start); i >= 0 {
		return i + len(s.start) - len(past)
	}
	return 0
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

// Rest implements Framer. Bytes that no message follows are none.
func (s *sequences) Rest(b []byte, why Flag) Message {
	clear(s.clear[:])
	if s.cutting || len(b) == 0 {
		return remainder(b, 0, s.max, why)
	}
	head := s.head(b)
	if head < 0 || head == len(b) && len(s.start) == 0 {
		return alone(b[:min(len(b), maxNoise+MaxDelimiter)])
	}
	m := remainder(b, head, s.max, why)
	s.cutting, s.before = m.Flag == Piece, known{} // the next bytes belong to the same message
	return m
}

// head returns how many bytes precede the data of the message that has begun in b; -1 if none has.
func (s *sequences) head(b []byte) (n int) {
	if len(s.start) == 0 {
		n, _ = s.rest(b)
		return n
	}
	if n, _ = s.begins(b); n == 0 {
		return -1
	}
	return n
}

// Part implements Framer.
func (s *sequences) Part(b []byte) Message {
	clear(s.clear[:])
	if len(b) == 0 {
		return Message{}
	}
	head := 0
	if !s.cutting {
		if head = s.head(b); head < 0 || head == len(b) && len(s.start) == 0 {
			return s.partBetween(b)
		}
		s.before = known{}
	}
	m := part(b, head, s.max)
	past := s.past()
	s.cutting, s.seen, s.before = true, 0, s.endsIn(past, m.Raw[head:])
	return m
}

// partBetween cuts off bytes that no message has begun in.
func (s *sequences) partBetween(b []byte) Message {
	if len(s.start) == 0 {
		_, s.before.which = s.rest(b)
		return alone(b)
	}
	var buf [MaxDelimiter + maxNoise]byte
	b = b[:min(len(b), maxNoise)]
	both := append(append(buf[:0], s.start[:s.before.n]...), b...)
	s.before = known{n: uint8(begun(both, s.start))}
	return alone(b)
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
	s.cutting, s.before, s.clear = m&1 != 0, known{}, [MaxDelimiters]int64{}
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
