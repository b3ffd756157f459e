package document

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// scanLines returns the lines of scanText, and the line that is nested too deep.
func scanLines(text string) (lines map[string]int, deep int) {
	s := scanText(text)
	return s.lines, s.deep
}

func TestScanLines(t *testing.T) {
	lines, deep := scanLines(strings.ReplaceAll(`# a comment with a = 1
address = [ # [not a table]
  "a]#", # "
  'b\', [],
]
"quo\u0074ed" . 'key' = """
x = 1
\"""" # five
[record] # [log]
banner = '''
[[listener]]''''' # two quotes at the end
[[listener]]
name = "a"
when = 1979-05-27 07:32:00
in = { a.b = [1,
  2], "c" = {} }
[[listener.sub]]
[ listener . sub . deep ]
x = "\\" # "
[[listener]]
name = "b"
[[listener.sub]]
y = 1`, "\n", "\r\n"))
	want := map[string]int{
		`"address"`: 2, `"address"[0]`: 3, `"address"[1]`: 4, `"address"[2]`: 4,
		`"quoted"`: 6, `"quoted""key"`: 6,
		`"record"`: 9, `"record""banner"`: 10,
		`"listener"`: 12, `"listener"[0]`: 12, `"listener"[0]"name"`: 13, `"listener"[0]"when"`: 14,
		`"listener"[0]"in"`: 15, `"listener"[0]"in""a"`: 15, `"listener"[0]"in""a""b"`: 15,
		`"listener"[0]"in""a""b"[0]`: 15, `"listener"[0]"in""a""b"[1]`: 16, `"listener"[0]"in""c"`: 16,
		`"listener"[0]"sub"`: 17, `"listener"[0]"sub"[0]`: 17,
		`"listener"[0]"sub"[0]"deep"`: 18, `"listener"[0]"sub"[0]"deep""x"`: 19,
		`"listener"[1]`: 20, `"listener"[1]"name"`: 21, `"listener"[1]"sub"`: 22, `"listener"[1]"sub"[0]`: 22, `"listener"[1]"sub"[0]"y"`: 23,
	}
	if !reflect.DeepEqual(lines, want) || deep != 0 {
		for path := range lines {
			if lines[path] != want[path] {
				t.Errorf("%s: got line %d, want %d", path, lines[path], want[path])
			}
		}
		t.Errorf("got %d paths and depth %d, want %d and 0", len(lines), deep, len(want))
	}
}

// TestScanLinesOnRandomTexts compares with the lines of generated texts.
func TestScanLinesOnRandomTexts(t *testing.T) {
	for seed := range uint64(500) {
		w := &writer{rand: rand.New(rand.NewPCG(seed, 1)), line: 1, want: map[string]int{}}
		w.document()
		if _, err := decodeTOML(w.text.String()); err != nil {
			t.Fatalf("seed %d: got %v, want a text that the library takes:\n%s", seed, err, w.text.String())
		}
		if got, _ := scanLines(w.text.String()); !reflect.DeepEqual(got, w.want) {
			t.Fatalf("seed %d: got %v\nwant %v\n%s", seed, got, w.want, w.text.String())
		}
	}
}

// writer writes random TOML and notes the line of every value.
type writer struct {
	rand *rand.Rand
	text strings.Builder
	line int
	keys int // makes every key unique
	want map[string]int
}

func (w *writer) put(s string) {
	w.text.WriteString(s)
	w.line += strings.Count(s, "\n")
}

func (w *writer) one(of ...string) string { return of[w.rand.IntN(len(of))] }

// key writes a new key in one of its notations.
func (w *writer) key() string {
	w.keys++
	name := fmt.Sprintf("k%d", w.keys)
	switch w.rand.IntN(4) {
	case 0:
		w.put(`"` + name + `"`)
	case 1:
		w.put(`'` + name + `#'`)
		return name + "#"
	case 2:
		w.put(`"\u006b` + name[1:] + `\""`)
		return name + `"`
	default:
		w.put(name)
	}
	return name
}

func (w *writer) end() {
	w.put(w.one("\n", "\r\n", "  # x = \"\n", "\t#\n\n# [[y]]\n"))
}

func (w *writer) document() {
	for range w.rand.IntN(4) {
		w.pair("", 0)
		w.end()
	}
	for range w.rand.IntN(4) {
		w.table()
	}
}

// table writes [k] once, or [[k]] up to three times, with pairs and sometimes a table inside.
func (w *writer) table() {
	if w.rand.IntN(2) == 0 {
		line := w.line
		w.put(w.one("[", "[ "))
		path := keyPath("", w.key())
		w.put(w.one("]", " ]"))
		w.want[path] = line
		w.body(path)
		return
	}
	w.keys++
	name := fmt.Sprintf("k%d", w.keys)
	path := keyPath("", name)
	for i := range 1 + w.rand.IntN(3) {
		item := itemPath(path, i)
		w.want[item] = w.line
		if i == 0 {
			w.want[path] = w.line
		}
		w.put("[[" + w.one(name, " "+name+" ", `"`+name+`"`) + "]]")
		w.body(item)
		if w.rand.IntN(2) == 0 {
			line := w.line
			w.put("[" + name + ".")
			sub := keyPath(item, w.key())
			w.put("]")
			w.want[sub] = line
			w.body(sub)
		}
	}
}

func (w *writer) body(path string) {
	w.end()
	for range w.rand.IntN(3) {
		w.pair(path, 0)
		w.end()
	}
}

func (w *writer) pair(table string, depth int) {
	line := w.line
	path := keyPath(table, w.key())
	w.want[path] = line
	if w.rand.IntN(4) == 0 {
		w.put(w.one(".", " . "))
		path = keyPath(path, w.key())
		w.want[path] = line
	}
	w.put(w.one("=", " = ", "\t=\t"))
	w.value(path, depth)
}

func (w *writer) value(path string, depth int) {
	switch n := w.rand.IntN(8); {
	case n == 0 && depth < 4:
		w.array(path, depth)
	case n == 1 && depth < 4:
		w.inline(path, depth)
	case n == 2:
		w.put(`"""` + w.one("", "\n", "\\\r\n  ", "a\n\nb", `\"""`, `""`) + w.one("x", "]") + `"""` + w.one("", `"`, `""`))
	case n == 3:
		w.put(`'''` + w.one("", "\r\n", "a\n\nb", `\`, `''`) + w.one("x", "#") + `'''` + w.one("", `'`, `''`))
	default:
		w.put(w.one("1", "-2.5e3", "true", "inf", "1979-05-27 07:32:00Z", "07:32:00", `"a\"\\"`, `'\'`, `"[{#"`, `''`, `""`))
	}
}

func (w *writer) space() { w.put(w.one("", " ", "\n", "\r\n\t", " # ]}\"'\n")) }

func (w *writer) array(path string, depth int) {
	w.put("[")
	for i := range w.rand.IntN(4) {
		if i > 0 {
			w.put(",")
		}
		w.space()
		item := itemPath(path, i)
		w.want[item] = w.line
		w.value(item, depth+1)
		w.space()
	}
	w.put("]")
}

func (w *writer) inline(path string, depth int) {
	w.put("{")
	for i := range w.rand.IntN(4) {
		if i > 0 {
			w.put(",")
		}
		w.space()
		w.pair(path, depth+1)
		w.space()
	}
	w.put("}")
}
