package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const shipped = "../packaging/tcpmux.toml"

func TestShippedFileIsTheDefault(t *testing.T) {
	got, err := Load(shipped)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Path = shipped
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestShippedFileShowsEveryKeyWithAComment(t *testing.T) {
	text, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	shown, _ := scanLines(string(text))
	lines := strings.Split(string(text), "\n")
	tables := map[string][]key{
		"": topKeys(new(Config), new(Listener)), "record": recordKeys(new(Record)), "log": logKeys(new(Log)), "limits": limitsKeys(new(Limits)),
	}
	for home, keys := range tables {
		path := ""
		if home != "" {
			path = keyPath("", home)
		}
		for _, k := range slices.DeleteFunc(keys, func(k key) bool { return k.set == nil }) {
			line := shown[keyPath(path, k.name)]
			if line < 2 || !strings.HasPrefix(lines[line-2], "# ") {
				t.Errorf("[%s] %s: got line %d, want one with a comment above it", home, k.name, line)
			}
		}
	}
}

// exampleLine is a line that is meant to be used without its #.
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
