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
//
// A star stands for no half of an escaped character (RFC 4514, section 2.4). Else a comma that
// somebody has in his own name would pass for the one after it.
func matches(pattern, text string) bool {
	first, rest, stars := strings.Cut(pattern, "*")
	if !stars {
		return pattern == text
	}
	if !strings.HasPrefix(text, first) {
		return false
	}
	at := len(first)
	for {
		part, more, stars := strings.Cut(rest, "*")
		if !stars {
			last := len(text) - len(rest)
			return last >= at && text[last:] == rest && (rest == "" || !escaped(text, last))
		}
		for {
			i := strings.Index(text[at:], part)
			if i < 0 {
				return false
			}
			if at += i; part == "" || !escaped(text, at) {
				break
			}
			at++
		}
		at, rest = at+len(part), more
	}
}

// escaped reports whether the byte at i is one that a backslash before it escapes.
func escaped(text string, i int) bool {
	before := text[:i]
	return (len(before)-len(strings.TrimRight(before, `\`)))%2 == 1
}
