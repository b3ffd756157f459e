package config

import (
	"os"
	"reflect"
	"regexp"
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
	for _, k := range Keys() {
		if !k.Top {
			continue
		}
		path := keyPath("", k.Name)
		if k.Table != "" {
			path = keyPath(keyPath("", k.Table), k.Name)
		}
		if line := shown[path]; line < 2 || !strings.HasPrefix(lines[line-2], "# ") {
			t.Errorf("%s: got line %d, want one with a comment above it", k.Path(), line)
		}
	}
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
