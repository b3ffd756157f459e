package fuzzing

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// maxInput bounds an argument: longer ones find little and take long.
const maxInput = 4096

// mutator makes inputs of others.
type mutator struct{ *rand.Rand }

// input is one of those that are known, with some of its arguments changed.
func (m mutator) input(known [][]any) []any {
	base := known[m.IntN(len(known))]
	other := known[m.IntN(len(known))]
	made := make([]any, len(base))
	for i := range base {
		made[i] = m.argument(base[i], other[i])
	}
	return made
}

// argument is one like base, which may have parts of other.
func (m mutator) argument(base, other any) any {
	switch base := base.(type) {
	case []byte:
		return m.bytes(base, other.([]byte))
	case string:
		return string(m.bytes([]byte(base), []byte(other.(string))))
	case uint8:
		return m.mostly(base, byte(m.IntN(256))).(uint8)
	case int64:
		return m.mostly(base, m.number()).(int64)
	default:
		panic(fmt.Sprintf("fuzzing: an argument of type %T, want []byte, string, uint8 or int64", base))
	}
}

// mostly is the second of two three times in four.
func (m mutator) mostly(a, b any) any {
	if m.IntN(4) == 0 {
		return a
	}
	return b
}

func (m mutator) number() int64 {
	switch m.IntN(3) {
	case 0:
		return int64(m.IntN(1000)) - 10
	case 1:
		return math.MaxInt64 >> m.IntN(63)
	default:
		return int64(m.Uint64())
	}
}

func (m mutator) bytes(base, other []byte) []byte {
	made := append([]byte{}, base...)
	for range 1 + m.IntN(6) {
		made = m.change(made, other)
	}
	return made[:min(len(made), maxInput)]
}

// change makes one change.
func (m mutator) change(b, other []byte) []byte {
	from, to := m.part(b)
	switch m.IntN(8) {
	case 0: // without a part
		return append(b[:from:from], b[to:]...)
	case 1: // a part twice
		return append(b[:to:to], b[from:]...)
	case 2: // a part of the other one
		start, end := m.part(other)
		return append(append(b[:from:from], other[start:end]...), b[to:]...)
	case 3: // the rest of the other one
		start, _ := m.part(other)
		return append(b[:from:from], other[start:]...)
	case 4: // the end missing
		return b[:from]
	case 5: // another byte
		if from < len(b) {
			b[from] = m.byte()
		}
		return b
	case 6: // a bit
		if from < len(b) {
			b[from] ^= 1 << m.IntN(8)
		}
		return b
	default: // more bytes
		return append(append(b[:from:from], m.some()...), b[from:]...)
	}
}

// part chooses a part of b, mostly a short one.
func (m mutator) part(b []byte) (from, to int) {
	from = m.IntN(len(b) + 1)
	n := len(b) - from
	if m.IntN(4) > 0 {
		n = min(n, 8)
	}
	return from, from + m.IntN(n+1)
}

// some are bytes, the same one repeated or different ones.
func (m mutator) some() []byte {
	made := make([]byte, 1+m.IntN(4))
	c := m.byte()
	same := m.IntN(2) == 0
	for i := range made {
		made[i] = c
		if !same {
			c = m.byte()
		}
	}
	return made
}

// byte is mostly one that means something to somebody.
func (m mutator) byte() byte {
	const special = "\x00\x01\x7f\x80\xff\r\n\t \\\"'<>[]{}=:,.#-+019aZ\xc3\xe2\xed\xf0"
	if m.IntN(3) == 0 {
		return byte(m.IntN(256))
	}
	return special[m.IntN(len(special))]
}
