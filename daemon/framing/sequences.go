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
	// before is what is known of the bytes before those that Next is given.
	before known
	// last is the index in single of the one that was found last. It is searched for first.
	last uint8
	// seen is how many of the bytes that Next has left were searched for an end.
	seen int
	// taken is how many bytes Next has taken.
	taken int64
	// until is up to where the stream contains none of single but the last, counted as taken
	// is. So one that does not come is not searched for with each message.
	until int64
}

// Next implements Framer. Most messages end with one of single, and have no start: these need no
// more than is here.
func (s *sequences) Next(b []byte) Message {
	head := 0
	if !s.bytewise || s.cutting || s.seen > 0 {
		return s.next(b)
	}
	if s.mayGoOn(b) {
		if head = 1; s.oneMore>>(s.before.which-1)&1 == 0 {
			return s.next(b)
		}
	}
	n := bytes.IndexByte(b[head:], s.single[s.last])
	if n < 0 {
		return s.next(b)
	}
	at := head + n
	if s.taken+int64(at) > s.until {
		at = s.searchOthers(b, head, at)
	}
	m := &s.minimal[s.last]
	which, size := m.index, 1
	if len(m.ends) > 0 {
		which = s.longest(m, b[head:at+1])
		size = len(s.all[which])
	}
	if at+1-size-head > s.max {
		return s.next(b)
	}
	s.taken += int64(at + 1)
	s.before = known{which: s.leads[which]}
	return Message{Raw: b[:at+1], HeadLen: uint8(head), EndLen: uint8(size)}
}

// next is Next for any message.
func (s *sequences) next(b []byte) Message {
	m := s.cut(b)
	s.taken += int64(m.Len())
	return m
}

func (s *sequences) cut(b []byte) Message {
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
		s.seen = head + len(data)
		return Message{}
	}
	s.cutting, s.seen, s.before = true, 0, known{}
	return Message{Raw: b[:head+s.max], HeadLen: uint8(head), Flag: Piece}
}

// search returns where in the data behind head bytes the first delimiter ends, as first does.
func (s *sequences) search(b []byte, head int) (end, which int) {
	seen := min(s.seen, len(b)) // the caller may give fewer bytes than before
	if s.single == nil {
		from := max(head, seen-MaxDelimiter)
		if end, which = s.first(b[from:]); end < 0 {
			return -1, 0
		}
		return end + from - head, which
	}
	from, at := max(head, seen), len(b)
	if n := bytes.IndexByte(b[from:], s.single[s.last]); n >= 0 {
		at = from + n
	}
	if at = s.searchOthers(b, from, at); at == len(b) {
		return -1, 0
	}
	return at + 1 - head, s.longest(&s.minimal[s.last], b[head:at+1])
}

// lookAhead is how many times the length of a message is searched for what has not ended it, so
// that the next messages need not be.
const lookAhead = 16

// searchOthers returns where in b[from:at] one of single comes first that is not the last one,
// which it becomes. It returns at if none does.
func (s *sequences) searchOthers(b []byte, from, at int) int {
	to, found := min(len(b), at+lookAhead*(at-from)), -1
	from = max(from, min(int(s.until-s.taken), at))
	for i, c := range s.single {
		if i == int(s.last) {
			continue
		}
		if n := bytes.IndexByte(b[from:to], c); n >= 0 {
			to, found = from+n, i
		}
	}
	s.until = s.taken + int64(to)
	if to >= at {
		return at
	}
	s.last = uint8(found)
	return to
}

// end ends the current message with raw, whose last bytes are a delimiter, or the rest of one.
func (s *sequences) end(raw []byte, head, tail, which int) Message {
	flag := Whole
	if s.cutting {
		flag = Cut
	}
	s.cutting, s.seen, s.before = false, 0, known{which: s.leads[which]}
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

// Rest implements Framer. Bytes that no message follows are none.
func (s *sequences) Rest(b []byte, why Flag) Message {
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
	s.until, s.seen = 0, 0
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
