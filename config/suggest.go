package config

import (
	"strconv"
	"strings"
)

// suggestion is what to say behind "is no key here": how the key is spelled, or where it belongs. home is the kind of table
// that the key stands in, keys are those of that table.
func suggestion(name, home string, keys []key) string {
	if len(name) > maxShown {
		return ""
	}
	lower := strings.ToLower(name)
	var hints []string
	if near := nearest(lower, keys); near != "" {
		hints = append(hints, strconv.Quote(near))
	}
	if len(hints) == 0 || hints[0] != strconv.Quote(lower) {
		hints = append(hints, elsewhere(lower, home)...)
	}
	if len(hints) == 0 {
		return ""
	}
	text := ": did you mean " + strings.Join(hints, " or ") + "?"
	if lower != name {
		return "; keys are lower case" + text
	}
	return text
}

// nearest is the key most like name, "" if none is like it: off by one letter, by two if it is a long one.
func nearest(name string, keys []key) string {
	best, limit := "", 2
	if len(name) > 4 {
		limit = 3
	}
	for _, k := range keys {
		if n := distance(name, k.name); n < limit {
			best, limit = k.name, n
		}
	}
	return best
}

// elsewhere says in which other tables a key of this name would be one. The commonest mistake of all is a top-level key that
// is written below a [table].
func elsewhere(name, home string) []string {
	tables := []struct {
		home, where string
		keys        []key
	}{
		{"", "above the first [table]", topKeys(new(Config), new(Listener))},
		{"record", "in [record]", recordKeys(new(Record))},
		{"log", "in [log]", logKeys(new(Log))},
		{"limits", "in [limits]", limitsKeys(new(Limits))},
	}
	var hints []string
	for _, t := range tables {
		for _, k := range t.keys {
			if t.home != home && k.name == name && k.set != nil {
				hints = append(hints, strconv.Quote(name)+" "+t.where)
			}
		}
	}
	return hints
}

// distance counts the letters to add, drop, replace or swap with the next one to get from a to b.
func distance(a, b string) int {
	last, row := make([]int, len(b)+1), make([]int, len(b)+1)
	var before []int
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+differ(a[i], b[j]))
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}

func differ(a, b byte) int {
	if a == b {
		return 0
	}
	return 1
}
