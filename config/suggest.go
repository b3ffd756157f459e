package config

import (
	"strconv"
	"strings"

	"tcpmux/config/fault"
)

// suggestion returns what follows "is not a key here": how the key is spelled, or where it belongs.
// The table is one of a section that may have the given names.
func suggestion(name string, of section, names []string) string {
	if len(name) > fault.MaxShown {
		return ""
	}
	lower := strings.ToLower(name)
	var hints []string
	if near := nearest(lower, names); near != "" {
		hints = append(hints, strconv.Quote(near))
	}
	if len(hints) == 0 || hints[0] != strconv.Quote(lower) {
		hints = append(hints, elsewhere(lower, of)...)
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

// nearest returns the name most like the given one: it differs by one letter, or by two if it is
// long. It returns "" when there is none.
func nearest(name string, names []string) string {
	best, limit := "", 2
	if len(name) > 4 {
		limit = 3
	}
	for _, candidate := range names {
		if n := distance(name, candidate); n < limit {
			best, limit = candidate, n
		}
	}
	return best
}

// elsewhere returns in which other tables a key of this name can stand. The most common mistake is
// a top-level key below the header of a table.
func elsewhere(name string, of section) []string {
	var hints []string
	for _, other := range []section{{}, {table: "record"}, {table: "log"}, {table: "forward"}, {table: "tls"}, {table: "limits"}} {
		where := "in " + other.header()
		if other.table == "" {
			where = "above the first [table]"
		}
		if other != of && find(other, name) != nil {
			hints = append(hints, strconv.Quote(name)+" "+where)
		}
	}
	if !of.listener && find(section{}, name) == nil && find(section{listener: true}, name) != nil {
		hints = append(hints, strconv.Quote(name)+" in a [[listener]]")
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
