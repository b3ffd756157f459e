package framing

import "bytes"

// delimited cuts messages at an end byte, which is not part of the message.
type delimited struct {
	max int
	end byte
	// pair makes the byte first part of the end, where it comes right before the end byte: CR,
	// in front of LF.
	pair  bool
	first byte
	// nul makes a NUL byte an end byte too.
	nul bool
	// cutting is true between the first and the last piece of a message that is longer than
	// max.
	cutting bool
	// seen is how many bytes of the current message were searched for the end. So the bytes of
	// a long message that comes in small pieces are searched once.
	seen int
}

// Next takes all bytes before the next end byte, or max bytes if those are fewer.
func (d *delimited) Next(b []byte) Message {
	window := b[:min(len(b), d.max+2)] // the longest message and its end
	seen := min(d.seen, len(window))   // the caller may give fewer bytes than before
	i := -1
	if d.nul {
		i = d.indexWithNUL(window[seen:])
	} else {
		i = bytes.IndexByte(window[seen:], d.end) // here, as it is a call less
	}
	if i >= 0 {
		i += seen
		if n := d.trim(b, i); n <= d.max {
			d.seen = 0
			return Message{Raw: b[:i+1], EndLen: uint8(i + 1 - n), Flag: d.last()}
		}
	} else if len(b) <= d.max || d.pair && len(b) == d.max+1 && b[d.max] == d.first {
		d.seen = len(b)
		return Message{}
	}
	d.cutting, d.seen = true, 0
	return Message{Raw: b[:d.max], Flag: Piece}
}

// Rest takes bytes that have no end byte.
func (d *delimited) Rest(b []byte, why Flag) Message { return remainder(b, 0, d.max, why) }

// Part takes any bytes: the end of the message comes after them.
func (d *delimited) Part(b []byte) Message {
	d.cutting, d.seen = d.cutting || len(b) > 0, 0
	return part(b, 0, d.max)
}

// Memory implements Framer: 1 between the first and the last piece of a message.
func (d *delimited) Memory() int64 {
	if d.cutting {
		return 1
	}
	return 0
}

// Recall implements Framer.
func (d *delimited) Recall(m int64) { d.cutting = m == 1 }

// last ends the current message and returns the flag of its last piece.
func (d *delimited) last() Flag {
	if d.cutting {
		d.cutting = false
		return Cut
	}
	return Whole
}

// indexWithNUL returns the index of the first end byte or NUL byte in b, or -1.
func (d *delimited) indexWithNUL(b []byte) int {
	for from := 0; from < len(b); from += stride {
		window := b[from:min(len(b), from+stride)]
		i := bytes.IndexByte(window, d.end)
		if i >= 0 {
			window = window[:i]
		}
		if n := bytes.IndexByte(window, 0); n >= 0 {
			i = n
		}
		if i >= 0 {
			return from + i
		}
	}
	return -1
}

// trim returns the length of the message whose end byte is at i.
func (d *delimited) trim(b []byte, i int) int {
	if d.pair && i > 0 && b[i] == d.end && b[i-1] == d.first {
		return i - 1
	}
	return i
}
