package document

import (
	"strings"
	"testing"
)

func TestSyntax(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"words", "#\nhello there\n", "t.toml:2: not TOML: want KEY = VALUE, [TABLE] or a # comment (expected '.' or '=', but got 't' instead)"},
		{"a word", "#\nhello", "t.toml:2: not TOML: want KEY = VALUE"},
		{"head without its end", "#\n[record\nfile = 'x'\n", "t.toml:2: not TOML: a table begins with [NAME] on a line of its own (expected "},
		{"head without its end, then blank lines", "[record\n\n\nfile = 'x'\n", "t.toml:1: not TOML: a table begins with [NAME]"},
		{"head of several without its end", "#\n[[listener]\nname = 'x'\n", "t.toml:2: not TOML: an array of tables begins with [[NAME]]"},
		{"nameless head", "#\n[]\n", "t.toml:2: not TOML: a table begins with [NAME]"},
		{"table twice", "[record]\nfile = 'x'\n[log]\n[record]\n", "t.toml:4: not TOML: it is defined twice, first on line 1 (key 'record' has already been defined)"},
		{"key twice", "#\nbacklog = 1\n\nbacklog = 2\n", "t.toml:4: not TOML: it is defined twice, first on line 2 (key 'backlog' has"},
		{"key twice in a listener", "[[listener]]\nname='a'\n[[listener]]\nname='b'\nname='c'\n", "t.toml:5: not TOML: it is defined twice, first on line 4 ("},
		{"array without its end", "#\naddress = [':1',\n\nbacklog = 5\n", "t.toml:4: not TOML: "},
		{"array without a comma", "address = [':1'\n':2']\n", "t.toml:2: not TOML: an array lacks a comma or its closing ], which begins on line 1 ("},
		{"text without its end", "banner = \"hello\nbacklog = 1\n", "t.toml:1: not TOML: a string has no closing quote ("},
		{"long text without its end", "#\nbanner = \"\"\"hello\nbacklog = 1\n", "which begins on line 2 ("},
		{"two on a line", "backlog = 1 model = 'x'\n", "t.toml:1: not TOML: want one KEY = VALUE or [TABLE] per line"},
		{"a word that begins like a number", "level = info\n", "text in quotes, such as \"info\""},
	} {
		var set Set
		set.Parse("t.toml", []byte(tc.text))
		if got := set.Faults().Error(); !strings.Contains(got, tc.want) {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}
