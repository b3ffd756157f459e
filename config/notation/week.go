package notation

import (
	"fmt"
	"slices"
	"strings"
)

// Window is a time of the week, in the machine's time zone.
type Window struct {
	// Days are the days on which it begins, from Monday.
	Days [7]bool
	// From is the first minute of the day, 0 to 1439. To is the first minute after the window,
	// 1 to 1440; where it is before From, the window ends on the next day.
	From, To int
}

var (
	dayNames = []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
	everyDay = [7]bool{true, true, true, true, true, true, true}
)

// String returns the window as it is written in a file: "Mon-Fri 08:00-18:00".
func (w Window) String() string {
	hours := fmt.Sprintf("%02d:%02d-%02d:%02d", w.From/60, w.From%60, w.To/60, w.To%60)
	if w.Days == everyDay {
		return hours
	}
	var runs []string
	for first := 0; first < len(w.Days); first++ {
		last := first
		for last < len(w.Days) && w.Days[last] {
			last++
		}
		switch last - first {
		case 0:
		case 1:
			runs = append(runs, dayNames[first])
		default:
			runs = append(runs, dayNames[first]+"-"+dayNames[last-1])
		}
		first = max(first, last-1)
	}
	return strings.Join(runs, ",") + " " + hours
}

// ParseWindow reads what String writes, with the days in any order. ok is false for anything else.
func ParseWindow(s string) (w Window, ok bool) {
	days, hours, found := strings.Cut(s, " ")
	if w.Days = everyDay; found {
		if w.Days, ok = parseDays(days); !ok {
			return w, false
		}
	} else {
		hours = days
	}
	from, to, _ := strings.Cut(hours, "-")
	var okFrom, okTo bool
	w.From, okFrom = parseMinute(from)
	w.To, okTo = parseMinute(to)
	return w, okFrom && okTo && w.From != w.To && w.From < 1440 && w.To > 0
}

// parseDays reads days and ranges of days: Mon,Thu-Sat. A range may include the end of the week.
func parseDays(s string) (days [7]bool, ok bool) {
	for part := range strings.SplitSeq(s, ",") {
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		from, to := slices.Index(dayNames, first), slices.Index(dayNames, last)
		if from < 0 || to < 0 {
			return days, false
		}
		for d := from; ; d = (d + 1) % 7 {
			if days[d] = true; d == to {
				break
			}
		}
	}
	return days, true
}

// parseMinute reads HH:MM up to 24:00.
func parseMinute(s string) (int, bool) {
	if len(s) != len("00:00") || s[2] != ':' || strings.Trim(s[:2]+s[3:], "0123456789") != "" {
		return 0, false
	}
	h, m := int(s[0]-'0')*10+int(s[1]-'0'), int(s[3]-'0')*10+int(s[4]-'0')
	return 60*h + m, m < 60 && 60*h+m <= 1440
}
