package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"unicode"

	"tcpmux/config/document"
	"tcpmux/config/fault"
	"tcpmux/config/notation"
)

// Rules is the content of a file of rules.
type Rules struct {
	// Allow and Deny are prefixes of clients, as in Policy.
	Allow, Deny []netip.Prefix
	// AllowSubjects and DenySubjects are patterns of subjects of client certificates, as in
	// TLS.
	AllowSubjects, DenySubjects []string
}

// maxRules is the size of the largest file in bytes, enough for some 800,000 rules.
const maxRules = 16 << 20

// LoadRules reads a file of rules: lines of "allow" or "deny" followed by networks or addresses,
// with comments after #, or by "subject" and one pattern up to the end of the line. Its errors are
// those of Load. It blocks on nothing but the disk.
func LoadRules(path string) (Rules, error) {
	text, err := readFile(path, maxRules)
	if err != nil {
		return Rules{}, &unreadable{"rules", path, err}
	}
	rules, faults := parseRules(path, string(text))
	if len(faults) > 0 {
		return Rules{}, faults
	}
	return rules, nil
}

func parseRules(path, text string) (r Rules, faults Faults) {
	side := map[any]string{} // "allow" or "deny", by prefix or pattern
	more, first := 0, 0      // errors that are not shown, and the line of the first
	for i, line := range strings.Split(text, "\n") {
		for _, text := range r.addLine(line, side) {
			if len(faults) < fault.Most {
				faults = append(faults, Fault{File: path, Line: i + 1, Text: text})
				continue
			}
			if more++; more == 1 {
				first = i + 1
			}
		}
	}
	if more > 0 {
		faults = append(faults, fault.Further(path, first, more, "errors"))
	}
	return r, faults
}

// addLine adds the rules of one line, and returns what is wrong with it.
func (r *Rules) addLine(line string, side map[any]string) (faults []string) {
	if word, pattern, ok := subjectRule(line); ok {
		return r.addSubject(word, pattern, side)
	}
	line, _, _ = strings.Cut(line, "#") // without its comment
	return r.add(strings.Fields(line), side)
}

// subjectRule returns the word and the pattern of a line "allow subject PATTERN".
func subjectRule(line string) (word, pattern string, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 2 || fields[0] != "allow" && fields[0] != "deny" || fields[1] != "subject" {
		return "", "", false
	}
	_, pattern, _ = strings.Cut(line, "subject")
	return fields[0], strings.TrimSpace(pattern), true
}

// addSubject adds a pattern of subjects. A # behind a space is refused: read as a comment or as
// part of the pattern, it would be the wrong one for somebody, who would not notice.
func (r *Rules) addSubject(word, pattern string, side map[any]string) (faults []string) {
	shown := fault.Quote(pattern)
	list := map[string]*[]string{"allow": &r.AllowSubjects, "deny": &r.DenySubjects}[word]
	switch want := patternProblem(pattern); {
	case want != "":
		return []string{fmt.Sprintf("%s subject %s, want %s", word, shown, want)}
	case strings.Contains(pattern, " #"):
		return []string{fmt.Sprintf(`%s subject %s, want no " #" in a pattern: a comment has a line of its own, and * stands for any text`, word, shown)}
	case side[pattern] != "" && side[pattern] != word:
		return []string{fmt.Sprintf("%s subject %s, which is both allowed and denied: want one of them", word, shown)}
	}
	side[pattern] = word
	*list = append(*list, pattern)
	return nil
}

// add adds the rules of the words of one line, and returns what is wrong with it.
func (r *Rules) add(fields []string, side map[any]string) (faults []string) {
	if len(fields) == 0 {
		return nil
	}
	list := map[string]*[]netip.Prefix{"allow": &r.Allow, "deny": &r.Deny}[fields[0]]
	if list == nil || len(fields) == 1 {
		return []string{fmt.Sprintf(`%s is not a rule, want "allow" or "deny", followed by networks or addresses, or by subject and a pattern`, fault.Quote(strings.Join(fields, " ")))}
	}
	for _, text := range fields[1:] {
		p, want := notation.ParseNetwork(text)
		switch {
		case want != "":
			faults = append(faults, fmt.Sprintf("%s %s, want %s", fields[0], fault.Quote(text), want))
		case side[p] != "" && side[p] != fields[0]:
			faults = append(faults, fmt.Sprintf("%s %q, which is both allowed and denied: want one of them", fields[0], p))
		default:
			side[p] = fields[0]
			*list = append(*list, p)
		}
	}
	return faults
}

// rulesFile takes the path of a file of rules, or "", and reads the file: the daemon must be able
// to apply it.
func rulesFile() kind[string] {
	const allowed = `the absolute path of a file, or "" for none`
	read := func(v any, at place) (string, bool) {
		s, ok := v.(string)
		if !ok || s != "" && !filepath.IsAbs(s) || strings.ContainsFunc(s, unicode.IsControl) {
			return "", at.Want(v, allowed+`, such as "/etc/tcpmux.rules"`)
		}
		if s == "" || at.reader.early {
			return s, true
		}
		_, err := LoadRules(s)
		switch err := err.(type) {
		case Faults:
			at.Include(err)
		case *unreadable:
			at.Fault("is %s: %v", fault.Quote(s), err.cause)
		}
		return s, true
	}
	return kind[string]{allowed, read, document.QuoteTOML}
}
