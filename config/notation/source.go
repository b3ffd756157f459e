package notation

import (
	"fmt"
	"strconv"
	"strings"
)

// SourcePrefix is the number of leading bits that make addresses of each family one source.
type SourcePrefix struct {
	IPv4 int // 1 to 32
	IPv6 int // 1 to 128
}

// String returns the prefixes as they are written in a file: "32/64".
func (p SourcePrefix) String() string { return fmt.Sprintf("%d/%d", p.IPv4, p.IPv6) }

// ParseSourcePrefix reads what String writes. ok is false for anything else.
func ParseSourcePrefix(s string) (p SourcePrefix, ok bool) {
	v4, v6, _ := strings.Cut(s, "/")
	n4, err4 := strconv.ParseUint(v4, 10, 8)
	n6, err6 := strconv.ParseUint(v6, 10, 8)
	if err4 != nil || err6 != nil || n4 < 1 || n4 > 32 || n6 < 1 || n6 > 128 {
		return SourcePrefix{}, false
	}
	return SourcePrefix{int(n4), int(n6)}, true
}
