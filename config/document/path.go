package document

import "strconv"

// maxDepth is how deep tables, arrays and dotted keys may nest. The TOML library recurses without a
// limit and in quadratic time. No valid configuration is deeper than 3.
const maxDepth = 32

// A path identifies a value of a TOML document: each key is quoted, each index of an array is in
// brackets, as in `"listener"[1]"name"`. The quotes keep the paths of different keys apart.
func keyPath(parent, key string) string    { return parent + strconv.Quote(key) }
func itemPath(parent string, i int) string { return parent + "[" + strconv.Itoa(i) + "]" }

// scanText scans a TOML text. Its lines are those of every table, key and array element, by path; a
// table that stands in several places has the line of the first.
//
// It takes any text, and stops where that is not TOML. Up to there it agrees with the library,
// which stops at the same place, so that it can protect the library from deep nesting.
func scanText(text string) *scanner {
	s := &scanner{text: text, line: 1, lines: map[string]int{}, bares: map[string]string{}, latin: map[string]string{}, tables: map[string]int{}, first: map[int]int{}}
	s.document()
	return s
}

// lostLine returns the first line with a value that the library accepts and drops, else 0. With
// a = [1] and a.b = 2 it drops the 1.
func lostLine(lines map[string]int, values map[string]any) int {
	found := map[string]bool{}
	walk("", values, func(path string) { found[path] = true })
	lost := 0
	for path, line := range lines {
		if !found[path] && (lost == 0 || line < lost) {
			lost = line
		}
	}
	return lost
}

// walk calls visit with the path of every value below v.
func walk(path string, v any, visit func(path string)) {
	if path != "" {
		visit(path)
	}
	switch v := v.(type) {
	case map[string]any:
		for k, v := range v {
			walk(keyPath(path, k), v, visit)
		}
	case []map[string]any:
		for i, v := range v {
			walk(itemPath(path, i), v, visit)
		}
	case []any:
		for i, v := range v {
			walk(itemPath(path, i), v, visit)
		}
	}
}
