package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"tcpmux/config"
)

// sections returns the sections of tcpmux.toml(5) that describe keys, by name.
func sections(t *testing.T) map[string]string {
	t.Helper()
	_, text, found := strings.Cut(read(t, "tcpmux.toml.5"), "\n.SH KEYS\n")
	if !found {
		t.Fatal("got no section KEYS")
	}
	text, _, _ = strings.Cut(text, "\n.SH ")
	byName := map[string]string{}
	for _, section := range strings.Split("\n"+text, "\n.SS ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		byName[strings.Trim(name, `"`)] = body + "\n"
	}
	return byName
}

// entryForm is how the description of a key begins: its name, its summary, and then prose.
var entryForm = regexp.MustCompile(`(?m)^\.TP\n\.B ([a-z_.]+)\n(.*)\n\.IP\n[^.\n]`)

// entries returns the first line of each key's description in a section, as it reads.
func entries(section string) map[string]string {
	summaries := map[string]string{}
	for _, m := range entryForm.FindAllStringSubmatch(section, -1) {
		summaries[m[1]] = unroff.Replace(m[2])
	}
	return summaries
}

// TestEveryKeyIsDescribed holds that each key has an entry in the section of its table, which
// begins with the summary of its row, and that no other entry exists.
func TestEveryKeyIsDescribed(t *testing.T) {
	const top, listener = "Top level", "[[listener]]"
	want := map[string]map[string]string{}
	add := func(section, name, summary string) {
		if want[section] == nil {
			want[section] = map[string]string{}
		}
		want[section][name] = summary
	}
	for _, k := range config.Keys() {
		switch {
		case k.Top && k.Table == "":
			add(top, k.Name, k.Summary())
		case k.Top:
			add("["+k.Table+"]", k.Name, k.Summary())
		default:
			add(listener, k.Path(), k.Summary())
		}
	}
	all := sections(t)
	for name, body := range all {
		got := entries(body)
		for key, summary := range want[name] {
			if got[key] != summary {
				t.Errorf("%s, %s: got %q, want an entry that begins with %q", name, key, got[key], summary)
			}
		}
		for key := range got {
			if want[name][key] == "" {
				t.Errorf("%s, %s: got an entry, want none: there is no such key", name, key)
			}
		}
	}
	if len(all) != len(want) {
		t.Errorf("got %d sections with keys, want %d", len(all), len(want))
	}
}

// TestInheritedKeysAreListed holds that the section about [[listener]] lists every key that may
// stand there besides those it describes, and says where its value comes from.
func TestInheritedKeysAreListed(t *testing.T) {
	want := map[string][]string{}
	for _, k := range config.Keys() {
		switch {
		case !k.Top || !k.Listener:
		case k.Inherited && k.Table == "":
			want["Inherited from the top level"] = append(want["Inherited from the top level"], k.Path())
		case k.Inherited:
			want["Inherited from ["+k.Table+"]"] = append(want["Inherited from ["+k.Table+"]"], k.Path())
		case k.Table == "":
			want["In addition to that of the top level"] = append(want["In addition to that of the top level"], k.Path())
		default:
			want["In addition to ["+k.Table+"]"] = append(want["In addition to ["+k.Table+"]"], k.Path())
		}
	}
	body := sections(t)["[[listener]]"]
	for term, keys := range want {
		_, list, _ := strings.Cut(body, "\n.TP\n"+term+"\n")
		var got []string
		for line := range strings.Lines(list) {
			names, ok := strings.CutPrefix(line, ".BR ")
			if !ok {
				break
			}
			got = append(got, strings.FieldsFunc(names, func(r rune) bool { return strings.ContainsRune("\" ,\n", r) })...)
		}
		if !slices.Equal(got, keys) {
			t.Errorf("%s: got %q, want %q", term, got, keys)
		}
	}
}
