package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"unicode"
)

// Rules are what a file of rules says: whose clients are let in, and whose are not, as Policy has them.
type Rules struct {
	Allow, Deny []netip.Prefix
}

const (
	// maxRules is the size in bytes above which a file is taken for something else than rules: some 800,000 of them.
	maxRules = 16 << 20
	// maxRuleFaults is how many faults of it are told: a file of another kind has one a line.
	maxRuleFaults = 20
)

// LoadRules reads a file of rules: lines of "allow" or "deny" and networks or addresses, with # for comments. Its errors are those
// of Load. It blocks on nothing but the disk.
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
	side := map[netip.Prefix]string{} // by which the prefix stands
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#") // what is behind it is a comment, if there is one
		fields := strings.Fields(line)
		for _, fault := range r.take(fields, side) {
			if len(faults) == maxRuleFaults {
				return r, append(faults, Fault{path, i + 1, "further faults are not told"})
			}
			faults = append(faults, Fault{path, i + 1, fault})
		}
	}
	return r, faults
}

// take takes one line, and says what is wrong with it.
func (r *Rules) take(fields []string, side map[netip.Prefix]string) (faults []string) {
	if len(fields) == 0 {
		return nil
	}
	list := map[string]*[]netip.Prefix{"allow": &r.Allow, "deny": &r.Deny}[fields[0]]
	if list == nil || len(fields) == 1 {
		return []string{fmt.Sprintf(`%s is no rule, want "allow" or "deny" and behind it networks or addresses`, quote(strings.Join(fields, " ")))}
	}
	for _, text := range fields[1:] {
		p, want := parsePrefix(text)
		switch {
		case want != "":
			faults = append(faults, fmt.Sprintf("%s %s, want %s", fields[0], quote(text), want))
		case side[p] != "" && side[p] != fields[0]:
			faults = append(faults, fmt.Sprintf("%s %q: it is both allowed and denied, want one", fields[0], p))
		default:
			side[p] = fields[0]
			*list = append(*list, p)
		}
	}
	return faults
}

// rulesFile takes the path of a file of rules, or "", and reads it: a daemon does not start on rules that it cannot follow.
func rulesFile(dst *string) setter {
	return func(v any, at place) {
		s, ok := v.(string)
		if !ok || s != "" && !filepath.IsAbs(s) || strings.ContainsFunc(s, unicode.IsControl) {
			at.want(v, `the path of a file of rules from the root on, such as "/etc/tcpmux.rules", or "" for none`)
			return
		}
		*dst = s
		if s == "" || at.doc.early {
			return
		}
		_, err := LoadRules(s)
		switch err := err.(type) {
		case Faults:
			at.doc.faults = append(at.doc.faults, err...)
			at.doc.failed[at.path] = true
		case *unreadable:
			at.fault("is %s: %v", quote(s), err.cause)
		}
	}
}
