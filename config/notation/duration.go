package notation

import (
	"strconv"
	"strings"
	"time"
)

// Day is the longest unit of a duration, without regard to clocks that are put forward or back.
const Day = 24 * time.Hour

// ParseDuration reads whole days such as "30d", and what time.ParseDuration reads, except "0"
// without a unit, units below a millisecond, and a fraction of a nanosecond: it would become 0,
// which means the opposite of a short time.
func ParseDuration(s string) (time.Duration, bool) {
	if number, ok := strings.CutSuffix(s, "d"); ok {
		// 16 bits of days are a hundred years more than is allowed and far from an
		// overflow.
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return 0, false
		}
		return time.Duration(n) * Day, true
	}
	d, err := time.ParseDuration(s)
	if err != nil || !strings.ContainsAny(s, "smh") || strings.ContainsAny(s, "nuµμ") || d == 0 && strings.ContainsAny(s, "123456789") {
		return 0, false
	}
	return d, true
}

// FormatDuration returns whole days as "30d", and other durations without the zero minutes and
// seconds of Duration.String: "10m", not "10m0s".
func FormatDuration(d time.Duration) string {
	if d != 0 && d%Day == 0 {
		return strconv.FormatInt(int64(d/Day), 10) + "d"
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
