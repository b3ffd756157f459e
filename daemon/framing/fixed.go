package framing

// fixed cuts messages of the same size.
type fixed struct {
	counted
	size int
}

// Next takes the bytes of one message.
func (f *fixed) Next(b []byte) Message {
	if len(b) == 0 {
		return Message{}
	}
	return f.cut(b, 0, f.missing())
}

// Rest implements Framer.
func (f *fixed) Rest(b []byte, why Flag) Message { return remainder(b, 0, f.max, why) }

// Part implements Framer.
func (f *fixed) Part(b []byte) Message {
	if len(b) == 0 {
		return Message{}
	}
	return f.part(b, 0, f.missing())
}

// missing returns how many bytes of the current message are to come.
func (f *fixed) missing() int64 {
	if f.left > 0 {
		return f.left
	}
	return int64(f.size)
}

// Recall implements Framer.
func (f *fixed) Recall(m int64) {
	if f.left = 0; m > 0 && m <= int64(f.size) {
		f.left = m
	}
}
