package text

import (
	"fmt"
	"strconv"
	"time"
)

// sizes are the units of Size, and counts those of Count.
var (
	sizes  = [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	counts = [...]string{"", "k", "M", "G", "T", "P", "E"}
)

// Size returns bytes with at most three digits and a unit: "812 B", "1.5 KiB", "23 MiB".
func Size(n int64) string { return short(float64(n), 1024, sizes[:], " ") }

// Count returns a number with at most five digits, and otherwise with a unit of a thousand:
// "12345", "1.2M".
func Count(n int64) string {
	if n < 100_000 {
		return strconv.FormatInt(n, 10)
	}
	return short(float64(n), 1000, counts[:], "")
}

// Rate returns how often something happens in a second: "0", "0.3", "12", "1.2M".
func Rate(r float64) string {
	switch {
	case r <= 0:
		return "0"
	case r < 0.05:
		return "<0.1"
	}
	return short(r, 1000, counts[:], "")
}

// short returns v in the largest unit in which it is at least 1, with a fraction below 10.
func short(v, base float64, units []string, gap string) string {
	u := 0
	for ; v >= base-0.5 && u < len(units)-1; u++ {
		v /= base
	}
	digits := 0
	if v < 9.95 && v != float64(int64(v)) {
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + gap + units[u]
}

// Span returns a duration in its two largest units: "350ms", "12s", "3m07s", "3h04m", "2d05h".
func Span(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// Ago returns how long before now t was: "12s ago", "never" for the zero time.
func Ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return Span(now.Sub(t)) + " ago"
}

// Clock returns the time of t in UTC: the time of the day if that is now's day, and otherwise the
// date with it.
func Clock(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	switch {
	case t.IsZero():
		return "-"
	case t.Format(time.DateOnly) == now.Format(time.DateOnly):
		return t.Format(time.TimeOnly)
	case t.Year() == now.Year():
		return t.Format("Jan _2 15:04")
	}
	return t.Format(time.DateOnly)
}

// Number returns a number of things: "1 record", "2 records".
func Number(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.FormatInt(n, 10) + " " + what + "s"
}
