package notation

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// units are those of a size, the largest first. There are no powers of ten: 64kB rarely means
// 64000.
var units = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1},
}

// ParseSize reads a whole number of bytes with a unit, such as "64KiB". fits reports whether the
// size fits an int64.
func ParseSize(s string) (n int64, ok, fits bool) {
	digits := strings.TrimLeft(s, "0123456789")
	number := s[:len(s)-len(digits)]
	for _, u := range units {
		if digits != u.name || number == "" {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n > (1<<63-1)/u.bytes {
			return 0, true, false
		}
		return n * u.bytes, true, true
	}
	return 0, false, false
}

// FormatSize returns n bytes in the largest unit that needs no fraction.
func FormatSize(n int64) string {
	for _, u := range units {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return "0B"
}

// sizeSlip matches other notations of a size: "64KB", "64k", "64 kib".
var sizeSlip = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([0-9]+) *([kKmMgGtT])?[iI]?[bB]?$`) })

// MeantSize returns the size that the author of s most likely means, "" if there is none.
func MeantSize(s string) string {
	m := sizeSlip().FindStringSubmatch(s)
	if m == nil || strings.Trim(s, "0123456789 ") == "" {
		return ""
	}
	unit := "B"
	if m[2] != "" {
		unit = strings.ToUpper(m[2]) + "iB"
	}
	if _, ok, fits := ParseSize(m[1] + unit); !ok || !fits {
		return ""
	}
	return m[1] + unit
}
