package admission

import "strings"

// Subjects decide by the subject of a client's certificate; "" is that of a client without one. Who
// matches a pattern of Deny is refused, and so is who matches none of Allow, unless that is empty.
// In a pattern * stands for any text, also none. The zero value admits everybody.
type Subjects struct{ Allow, Deny []string }

// Admit reports whether clients with a subject are admitted.
func (s Subjects) Admit(subject string) bool {
	return !matchesAny(s.Deny, subject) && (len(s.Allow) == 0 || matchesAny(s.Allow, subject))
}

func matchesAny(patterns []string, text string) bool {
	for _, p := range patterns {
		if matches(p, text) {
			return true
		}
	}
	return false
}

// matches reports whether a pattern stands for the whole text. Each part between two stars is where
// it is first found: if the rest cannot match behind that, it cannot behind a later one.
func matches(pattern, text string) bool {
	first, rest, stars := strings.Cut(pattern, "*")
	if !stars {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	for {
		part, more, stars := strings.Cut(rest, "*")
		if !stars {
			return strings.HasSuffix(text, rest)
		}
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text, rest = after, more
	}
}
