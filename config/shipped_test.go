package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"tcpmux/config/document"
)

const shipped = "../packaging/tcpmux.toml"

func TestShippedFileIsTheDefault(t *testing.T) {
	got, err := Load(shipped)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Path, want.Listeners[0].Source, want.Fingerprint = shipped, shipped, FingerprintOf(shipped)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestShippedFileDescribesEveryKey holds that the comment above each key is prose, and then the
// range of its row.
func TestShippedFileDescribesEveryKey(t *testing.T) {
	text, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	doc := new(document.Set).Parse(shipped, text)
	if doc == nil {
		t.Fatal("got no document, want one")
	}
	lines := strings.Split(string(text), "\n")
	for _, k := range Keys() {
		if !k.Top {
			continue
		}
		got := commentAbove(lines, doc.At(strings.Split(k.Path(), ".")...).Line())
		if prose, ok := strings.CutSuffix(got, " "+k.Range()); !ok || prose == "" {
			t.Errorf("%s: got comment %q, want prose and then %q", k.Path(), got, k.Range())
		}
	}
	for i, line := range lines {
		if utf8.RuneCountInString(line) > 100 {
			t.Errorf("line %d: got %d columns, want at most 100", i+1, utf8.RuneCountInString(line))
		}
	}
}

// commentAbove returns the comment that ends above a line, which counts from 1; "" without one.
func commentAbove(lines []string, line int) string {
	var comment []string
	for i := line - 2; i >= 0 && strings.HasPrefix(lines[i], "# "); i-- {
		comment = append(comment, strings.TrimSpace(lines[i][1:]))
	}
	slices.Reverse(comment)
	return strings.Join(comment, " ")
}

// exampleLine is a line of the example, which is used by removing the #.
var exampleLine = regexp.MustCompile(`(?m)^#([^ \n])`)

func TestShippedExampleLoads(t *testing.T) {
	text, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	c := load(t, exampleLine.ReplaceAllString(string(text), "$1"))
	if len(c.Listeners) != 2 || len(c.Warnings) != 0 {
		t.Fatalf("got %+v with warnings %q, want the example as a second listener without any", c.Listeners, c.Warnings)
	}
	if l := c.Listeners[1]; l.Name != "scanners" || l.MaxMessage != 4<<10 || l.Backlog != 4096 {
		t.Errorf("got %+v, want the listener of the example", l)
	}
}
