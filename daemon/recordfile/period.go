package recordfile

import (
	"fmt"
	"time"
)

// Period is how long a file is written until it is rotated, by the local clock.
type Period int

// The zero value is NoPeriod.
const (
	// NoPeriod rotates files by size alone.
	NoPeriod Period = iota
	// Hourly ends with each full hour.
	Hourly
	// Daily ends at midnight.
	Daily
	// Weekly ends at midnight before Monday.
	Weekly
)

// ParsePeriod returns the period that a configuration calls "hourly", "daily" or "weekly"; "" is
// NoPeriod.
func ParsePeriod(s string) (Period, error) {
	switch s {
	case "":
		return NoPeriod, nil
	case "hourly":
		return Hourly, nil
	case "daily":
		return Daily, nil
	case "weekly":
		return Weekly, nil
	}
	return NoPeriod, fmt.Errorf("there is no period %q", s)
}

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// next returns the first end of a period after now, in the time zone of now. It depends on nothing
// else, so every moment is in exactly one period. Times are compared with it by the wall clock: it
// has no monotonic reading, which would stand still while the machine sleeps.
func (p Period) next(now time.Time) time.Time {
	now = now.Round(0)
	switch p {
	case Hourly:
		return nextHour(now)
	case Daily:
		return nextMidnight(now, 1, 1)
	case Weekly:
		return nextMidnight(now, 7-(int(now.Weekday())+6)%7, 7)
	}
	return never
}

// never is later than every time that a clock shows.
var never = time.Unix(1<<40, 0)

// longest is longer than any time from a moment to the end of its period.
func (p Period) longest() time.Duration {
	switch p {
	case Hourly:
		return 2 * time.Hour
	case Daily:
		return day + 2*time.Hour
	}
	return week + 2*time.Hour
}

// astray reports whether due is no end of a period that a clock at now can wait for, because the
// clock was far ahead when due was computed. A clock that is set back by less than a period still
// waits for the end that was due.
func (p Period) astray(due, now time.Time) bool {
	return p != NoPeriod && due.Sub(now) > 2*p.longest()
}

// nextHour returns when the local clock shows the next full hour. Hours are counted as time passes:
// where the clock is changed by a whole hour, none is longer or shorter for it.
func nextHour(now time.Time) time.Time {
	for at := now; ; {
		_, offset := at.Zone()
		next := at.Add(time.Hour - time.Duration(mod(at.Unix()+int64(offset), 3600))*time.Second -
			time.Duration(at.Nanosecond()))
		_, end := at.ZoneBounds()
		if end.IsZero() || !next.After(end) {
			return next
		}
		at = end
		if _, offset = at.Zone(); mod(at.Unix()+int64(offset), 3600) == 0 {
			return at
		}
	}
}

// mod returns the remainder of a division, at least 0.
func mod(a, b int64) int64 { return (a%b + b) % b }

// nextMidnight returns the first begin of a day after now, of the days that are ahead, ahead+step
// and so on from that of now.
func nextMidnight(now time.Time, ahead, step int) time.Time {
	year, month, today := now.Date()
	for ; ; ahead += step {
		// A day may have begun already, where the clock was set back over midnight.
		if begin := dayBegin(year, month, today+ahead, now.Location()); begin.After(now) {
			return begin
		}
	}
}

// dayBegin returns the first moment at which the calendar shows the day or a later one. That is
// midnight, or the end of a gap: there are zones where the clock goes from 00:00 to 01:00, and some
// have skipped a day. Of two midnights it is the first. time.Date promises neither.
func dayBegin(year int, month time.Month, d int, zone *time.Location) time.Time {
	midnight := time.Date(year, month, d, 0, 0, 0, 0, time.UTC)
	for at := midnight.Add(-day - 2*time.Hour).In(zone); ; { // no clock is that far ahead of UTC
		_, offset := at.Zone()
		begin := midnight.Add(-time.Duration(offset) * time.Second)
		if begin.Before(at) { // the day was in the gap in front of at
			begin = at
		}
		_, end := at.ZoneBounds()
		if end.IsZero() || begin.Before(end) {
			return begin.In(zone)
		}
		at = end
	}
}
