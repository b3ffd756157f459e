package admission

import "time"

// Hours are when clients are let in; none is always.
type Hours []Window

// Window is a time of the week.
type Window struct {
	// Days are those on which it begins, Monday first.
	Days [7]bool
	// From is its first minute of the day, To the one behind its last. One that ends before it begins ends on the day after.
	From, To int
}

// Open says whether clients are let in at a moment, by the clock of its location.
func (h Hours) Open(now time.Time) bool {
	if len(h) == 0 {
		return true
	}
	day, minute := (int(now.Weekday())+6)%7, now.Hour()*60+now.Minute()
	for _, w := range h {
		if w.holds(day, minute) {
			return true
		}
	}
	return false
}

func (w Window) holds(day, minute int) bool {
	if w.From < w.To {
		return w.Days[day] && w.From <= minute && minute < w.To
	}
	return w.Days[day] && w.From <= minute || w.Days[(day+6)%7] && minute < w.To
}
