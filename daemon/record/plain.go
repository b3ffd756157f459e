package record

import (
	"encoding/binary"
	"math/bits"
)

// Most data is plain: records have it as it came. So plain looks at many bytes at a time, and at
// each of them once. To copy them in the same loop gains nothing over an append behind it.

const (
	ones = 0x0101010101010101 // times a byte: eight of it
	high = 0x8080808080808080
)

// plainGo is plain without assembly: eight bytes at a time, 32 where that many are left.
func plainGo(data []byte, quotes bool) int {
	flip, limit := uint64(0), uint64(ones*' ')
	if quotes {
		flip, limit = ones*('"'^' '), ones*'!'
	}
	left := data
	for ; len(left) >= 32; left = left[32:] {
		w := (*[32]byte)(left)
		if (special(w[:], flip, limit)|special(w[8:], flip, limit)|special(w[16:], flip, limit)|special(w[24:], flip, limit))&high != 0 {
			break
		}
	}
	for ; len(left) >= 8; left = left[8:] {
		if marks := special(left, flip, limit) & high; marks != 0 {
			return len(data) - len(left) + bits.TrailingZeros64(marks)/8
		}
	}
	for i, c := range left {
		if c < ' ' || c >= 0x7f || c == '\\' || c == '"' && quotes {
			return len(data) - len(left) + i
		}
	}
	return len(data)
}

// special sets the high bit of those of the first eight bytes of b that are not plain: of those
// from 0x7f, by an addition; of those below limit, which is a space; and of backslashes. If quotes
// are not plain either, flip exchanges them with spaces, and control characters among themselves,
// and limit is one higher.
//
// Carries and borrows may set the bit of the bytes above such a byte, but never of those below it,
// and of none if there is no such byte.
func special(b []byte, flip, limit uint64) uint64 {
	w := binary.LittleEndian.Uint64(b)
	return ((w ^ flip) - limit) | (w + ones) | ((w ^ ones*'\\') - ones)
}
