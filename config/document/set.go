package document

import (
	"cmp"
	"slices"
	"strings"

	"tcpmux/config/fault"
)

// Set is the documents of one configuration, with the errors and warnings found so far. Tables in
// any of them inherit from the top table of the main document, which is parsed first. The zero value
// is an empty set. It is for one goroutine.
type Set struct {
	main     *Document
	docs     []*Document
	files    []string // also those that are no documents, in the order of messages
	faults   fault.List
	warnings fault.List
}

// Parse adds the text of a file. It reports an error and returns nil if the text is not plain UTF-8
// or not TOML, or nests too deep.
func (s *Set) Parse(file string, text []byte) *Document {
	d := &Document{set: s, file: file, failed: map[string]bool{}}
	s.files = append(s.files, file)
	if f := d.decode(text); f != nil {
		s.faults = append(s.faults, *f)
		return nil
	}
	s.main = cmp.Or(s.main, d)
	s.docs = append(s.docs, d)
	return d
}

// Fault reports an error of a file as a whole, in place of Parse.
func (s *Set) Fault(file, text string) {
	s.files = append(s.files, file)
	s.faults = append(s.faults, fault.Fault{File: file, Text: text})
}

// AnyFailed reports whether a key of one of these names has an error, in whatever table.
func (s *Set) AnyFailed(names ...string) bool {
	for _, d := range s.docs {
		for path := range d.failed {
			for _, name := range names {
				if strings.HasSuffix(path, keyPath("", name)) {
					return true
				}
			}
		}
	}
	return false
}

// Faults returns the errors so far: file by file in the order in which they were added, and by
// their lines. Those about other files are last. There are at most fault.Most, and their number in
// place of the others.
func (s *Set) Faults() fault.List { return s.sorted(s.faults).Shown("errors") }

// Warnings returns the warnings so far as Faults does the errors.
func (s *Set) Warnings() fault.List { return s.sorted(s.warnings).Shown("warnings") }

// sorted sorts messages by file and line, and drops repeated ones.
func (s *Set) sorted(l fault.List) fault.List {
	rank := make(map[string]int, len(s.files))
	for i, file := range s.files {
		rank[file] = i - len(s.files) // other files have 0
	}
	l = slices.Clone(l)
	slices.SortStableFunc(l, func(a, b fault.Fault) int {
		return cmp.Or(cmp.Compare(rank[a.File], rank[b.File]), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return slices.Compact(l)
}
