package admission

import "time"

// Hours are when clients are admitted. No windows mean always.
type Hours []Window

// Window is a part of certain days of the week.
type Window struct {
	// Days are the days on which the window begins, Monday first.
	Days [7]bool
	// From is the first minute of the day in the window, To the first minute after it. A window
	// whose To is not after its From ends on the next day.
	From, To int
}

// Open reports whether clients are admitted at a time, by the clock of that time's location.
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
