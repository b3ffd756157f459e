package config

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

const day = 24 * time.Hour

// units are those of a size, the largest first. There are no powers of ten: 64kB rarely means
// 64000.
var units = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1},
}

// parseSize reads a whole number with a unit, such as "64KiB". fits reports whether the size fits
// an int64.
func parseSize(s string) (n int64, ok, fits bool) {
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

// formatSize returns n bytes in the largest unit that needs no fraction.
func formatSize(n int64) string {
	for _, u := range units {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return "0B"
}

// sizeSlip matches other notations of a size: "64KB", "64k", "64 kib".
var sizeSlip = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([0-9]+) *([kKmMgGtT])?[iI]?[bB]?$`) })

// meantSize returns the size that the author of s most likely means, "" if there is none.
func meantSize(s string) string {
	m := sizeSlip().FindStringSubmatch(s)
	if m == nil || strings.Trim(s, "0123456789 ") == "" {
		return ""
	}
	unit := "B"
	if m[2] != "" {
		unit = strings.ToUpper(m[2]) + "iB"
	}
	if _, ok, fits := parseSize(m[1] + unit); !ok || !fits {
		return ""
	}
	return m[1] + unit
}

// parseDuration reads whole days such as "30d", and what time.ParseDuration reads, except "0"
// without a unit, units below a millisecond, and a fraction of a nanosecond: it would become 0,
// which means the opposite of a short time.
func parseDuration(s string) (time.Duration, bool) {
	if number, ok := strings.CutSuffix(s, "d"); ok {
		// 16 bits of days are a hundred years more than is allowed and far from an overflow.
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return 0, false
		}
		return time.Duration(n) * day, true
	}
	d, err := time.ParseDuration(s)
	if err != nil || !strings.ContainsAny(s, "smh") || strings.ContainsAny(s, "nuµμ") || d == 0 && strings.ContainsAny(s, "123456789") {
		return 0, false
	}
	return d, true
}

// formatDuration returns whole days as "30d", and other durations without the zero minutes and
// seconds of Duration.String: "10m", not "10m0s".
func formatDuration(d time.Duration) string {
	if d != 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
