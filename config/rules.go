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

// Rules is the content of a file of rules: prefixes of clients, as in Policy.
type Rules struct {
	Allow, Deny []netip.Prefix
}

// maxRules is the size of the largest file in bytes, enough for some 800,000 rules.
const maxRules = 16 << 20

// LoadRules reads a file of rules: lines of "allow" or "deny" followed by networks or addresses,
// with comments after #. Its errors are those of Load. It blocks on nothing but the disk.
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
	side := map[netip.Prefix]string{} // "allow" or "deny", by prefix
	more, first := 0, 0               // errors that are not shown, and the line of the first
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#") // without its comment
		fields := strings.Fields(line)
		for _, text := range r.add(fields, side) {
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

// add adds the rules of one line, and returns what is wrong with it.
func (r *Rules) add(fields []string, side map[netip.Prefix]string) (faults []string) {
	if len(fields) == 0 {
		return nil
	}
	list := map[string]*[]netip.Prefix{"allow": &r.Allow, "deny": &r.Deny}[fields[0]]
	if list == nil || len(fields) == 1 {
		return []string{fmt.Sprintf(`%s is not a rule, want "allow" or "deny", followed by networks or addresses`, fault.Quote(strings.Join(fields, " ")))}
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
