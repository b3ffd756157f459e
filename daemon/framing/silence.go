package framing

// silence cuts messages that end when nothing has come for some time. That it has, the caller
// knows: it calls Rest with the flag Whole, and then goes on with Next.
type silence struct {
	max int
	// cutting is true between the first and the last piece of a message.
	cutting bool
}

// Next takes only pieces: more of the message may come.
func (s *silence) Next(b []byte) Message {
	if len(b) <= s.max {
		return Message{}
	}
	s.cutting = true
	return Message{Raw: b[:s.max], Flag: Piece}
}

// Rest takes the end of a message. The end of the stream ends one as well as silence does.
func (s *silence) Rest(b []byte, why Flag) Message {
	m := remainder(b, 0, s.max, why)
	switch {
	case m.Flag == Piece:
		s.cutting = true
		return m
	case m.Flag == EOF:
		m.Flag = Whole
	}
	if m.Flag == Whole && s.cutting {
		m.Flag = Cut
	}
	s.cutting = false
	return m
}

// Part implements Framer.
func (s *silence) Part(b []byte) Message {
	s.cutting = s.cutting || len(b) > 0
	return part(b, 0, s.max)
}

// Memory implements Framer: 1 between the first and the last piece of a message.
func (s *silence) Memory() int64 {
	if s.cutting {
		return 1
	}
	return 0
}

// Recall implements Framer.
func (s *silence) Recall(m int64) { s.cutting = m == 1 }
