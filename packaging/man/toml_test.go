package main

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tcpmux/config"
)

// key is a key with its default as it stands in a file, such as `clients = 10000`.
type key struct{ table, name, value string }

var (
	pairForm  = regexp.MustCompile(`^([a-z_.]+) = (.+)$`)
	tableForm = regexp.MustCompile(`^\[([a-z]+)\]$`)
)

// keys reads the pairs of a text, one a line, below their tables; all that is no pair is passed over.
func keys(text string) map[key]bool {
	list, table := map[key]bool{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := tableForm.FindStringSubmatch(line); m != nil {
			table = m[1]
		} else if m := pairForm.FindStringSubmatch(line); m != nil {
			list[key{table, m[1], m[2]}] = true
		}
	}
	return list
}

// pageKeys are those of tcpmux.toml(5), before its examples.
func pageKeys(t *testing.T) map[key]bool {
	t.Helper()
	page, _, _ := strings.Cut(read(t, "tcpmux.toml.5"), ".SH EXAMPLES")
	page = regexp.MustCompile(`(?m)^\.SS "(.*)"$`).ReplaceAllString(page, "$1")
	return keys(unroff.Replace(page))
}

func TestPageFileAndDefaultsAgree(t *testing.T) {
	var b strings.Builder
	if err := config.Default().WriteTOML(&b); err != nil {
		t.Fatal(err)
	}
	want := keys(b.String())
	if len(want) < 18 {
		t.Fatalf("got %d defaults, want all", len(want))
	}
	for _, c := range []struct {
		name string
		got  map[key]bool
	}{
		{"tcpmux.toml(5)", pageKeys(t)},
		{"the shipped tcpmux.toml", keys(read(t, "../tcpmux.toml"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			for k := range c.got {
				if !want[k] {
					t.Errorf("got [%s] %s = %s, which is no default", k.table, k.name, k.value)
				}
			}
			for k := range want {
				if !c.got[k] {
					t.Errorf("got no [%s] %s = %s, want it", k.table, k.name, k.value)
				}
			}
		})
	}
}

// The keys of a [[listener]] are named on the page too.
func TestPageNamesTheKeysOfAListener(t *testing.T) {
	cfg := config.Default()
	cfg.Listeners = append(cfg.Listeners, config.Default().Listeners[0])
	cfg.Listeners[1].Name = "other"
	var b strings.Builder
	if err := cfg.WriteTOML(&b); err != nil {
		t.Fatal(err)
	}
	_, listener, _ := strings.Cut(b.String(), "[[listener]]\n")
	_, section, _ := strings.Cut(read(t, "tcpmux.toml.5"), `.SS "[[listener]]"`)
	section, _, _ = strings.Cut(section, ".SH ")
	names := map[string]bool{}
	for line := range strings.Lines(section) {
		if terms, ok := strings.CutPrefix(line, ".B"); ok {
			for _, f := range strings.FieldsFunc(strings.TrimPrefix(terms, "R"), func(r rune) bool { return strings.ContainsRune(" \",\n", r) }) {
				names[f] = true
			}
		}
	}
	want := map[string]bool{}
	for k := range keys(listener) {
		want[k.name] = true
	}
	got := slices.Sorted(maps.Keys(names))
	if w := slices.Sorted(maps.Keys(want)); !slices.Equal(got, w) {
		t.Errorf("got %q, want %q", got, w)
	}
}
