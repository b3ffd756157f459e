package document

import (
	"slices"
	"strings"
	"testing"

	"tcpmux/config/fault"
)

func TestInvalidTexts(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"byte order mark", "\ufeffbacklog = 1", "t.toml:1: the file begins with a byte order mark, want plain UTF-8 without one"},
		{"UTF-16", "\xff\xfeb\x00", "t.toml:1: the file is UTF-16, want plain UTF-8"},
		{"NUL", "#\n\x00", "t.toml:2: a NUL byte, want plain UTF-8"},
		{"no UTF-8", "#\n#\nbanner = \"\xe4\"", "t.toml:3: byte 0xe4 is not UTF-8, want plain UTF-8"},
		{"no value", "a =\n", `t.toml:1: not TOML: a value is missing (expected value but found '\n' instead)`},
		{"deep array", "\nx = " + strings.Repeat("[", 500_000), "t.toml:2: nested more than 32 deep, want tables and arrays as the manual shows them"},
		{"deep key", strings.Repeat("a.", 300_000), "t.toml:1: nested more than 32 deep, want tables and arrays as the manual shows them"},
		{"deep inline table", strings.Repeat("a={", 100_000), "t.toml:1: nested more than 32 deep, want tables and arrays as the manual shows them"},
		{"keys below an array", "backlog = 1\naddress = [':1']\naddress.b = 2\nx = 1", "t.toml:2: not TOML: a key has a value and also keys below it"},
	} {
		var set Set
		d, got := set.Parse("t.toml", []byte(tc.text)), ""
		if err := set.Faults(); len(err) > 0 {
			got = err.Error()
		}
		if d != nil || got != tc.want {
			t.Errorf("%s: got %v and %s, want none and %s", tc.name, d, got, tc.want)
		}
	}
}

// parsed returns the document of a text, which must be valid, as the first of a set.
func parsed(t *testing.T, text string) *Document {
	t.Helper()
	return added(t, new(Set), "t.toml", text)
}

// added adds a document to a set.
func added(t *testing.T, set *Set, file, text string) *Document {
	t.Helper()
	d := set.Parse(file, []byte(text))
	if d == nil {
		t.Fatalf("got %v, want no error for:\n%s", set.Faults(), text)
	}
	return d
}

// TestPlaces holds what messages about the places of a document say.
func TestPlaces(t *testing.T) {
	const text = "n = 0o640\nlist = [\n1,\n2]\nboth = 'top'\n[sub]\nkey = \"\\xd9\"\n[[t]]\nboth = 'own'\n[[t]]\n"
	for _, tc := range []struct {
		name   string
		report func(d *Document, second Table)
		want   string
	}{
		{"a number as it is written", func(d *Document, _ Table) { d.At("n").Want(int64(416), "less") }, "t.toml:1: n is 0o640, want less"},
		{"an element", func(d *Document, _ Table) { d.Top().At("list").Item(1).Fault("has %d", 2) }, "t.toml:4: list has 2"},
		{"a key of a table", func(d *Document, _ Table) { d.At("sub", "key").Want("Ù", "A") }, `t.toml:7: sub.key is "Ù", want A`},
		{"an escape", func(d *Document, _ Table) { d.At("sub", "key").Fault("has %s", d.At("sub", "key").LatinEscape()) }, `t.toml:7: sub.key has \xd9`},
		{"a table's own", func(d *Document, _ Table) {
			own := d.At("t").Item(0).Table("first: ", nil)
			own.Setting("both").Fault("is own%s", own.Origin("both"))
		}, "t.toml:9: first: both is own"},
		{"an inherited value", func(_ *Document, second Table) { second.Setting("both").Fault("is not its own") },
			"t.toml:10: second: both (inherited from line 5) is not its own"},
		{"another inherited value", func(_ *Document, second Table) { second.At("x").Fault("contradicts both%s", second.Origin("both")) },
			"t.toml: second: x contradicts both (inherited from line 5)"},
		{"a default", func(_ *Document, second Table) { second.Setting("x").Fault("is a default%s", second.Origin("x")) },
			"t.toml:10: second: x is a default"},
		{"a missing key", func(_ *Document, second Table) { second.Missing("name", "one") }, "t.toml:10: second: name is missing, want one"},
		{"a key that has to be quoted", func(_ *Document, second Table) { second.At("\x1b").Fault("is there") }, `t.toml: second: "\x1b" is there`},
	} {
		d := parsed(t, text)
		tc.report(d, d.At("t").Item(1).Table("second: ", nil))
		if got := d.set.Faults().Error(); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

// TestFaultsAreSorted holds that messages are in the order of the file, once each, with those of
// other files last, and that to read them changes nothing.
func TestFaultsAreSorted(t *testing.T) {
	d := parsed(t, "a = 1\nb = 2\nc = 3\n")
	d.At("c").Include(fault.List{{File: "rules", Line: 1, Text: "no rule"}})
	d.At("b").Fault("is late")
	d.At("a").Fault("is early")
	d.At("b").Fault("is late")
	const want = "t.toml:1: a is early\nt.toml:2: b is late\nrules:1: no rule"
	for range 2 {
		if got := d.set.Faults().Error(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	for key, want := range map[string]bool{"a": true, "c": true, "d": false} {
		if got := d.At(key).Failed(); got != want || d.set.AnyFailed("x", key) != want {
			t.Errorf("%s failed: got %v and among others %v, want %v", key, got, d.set.AnyFailed("x", key), want)
		}
	}
}

// TestSeveralDocuments holds what messages say about a table in another document than the main one,
// and that messages are in the order of the documents.
func TestSeveralDocuments(t *testing.T) {
	set := new(Set)
	main := added(t, set, "z.toml", "both = 1\n\nmain = 2\n")
	set.Fault("y\n.toml", "cannot be read: no")
	if d := set.Parse("x.toml", []byte("\n=")); d != nil {
		t.Errorf("got %v of a text that is not TOML, want none", d)
	}
	drop := added(t, set, "d.toml", "\n[[t]]\nboth = 5\n[[t]]\n")
	first, second := drop.At("t").Item(0).Table("first: ", nil), drop.At("t").Item(1).Table("second: ", nil)
	first.Setting("both").Fault("is own%s", first.Origin("both"))
	first.At("both").Want(int64(5), "less than "+main.At("main").Seen(first.At("both")))
	second.Setting("both").Fault("contradicts main%s", second.Origin("main"))
	second.At("both").Fault("is absent, unlike %s", first.At("both").Seen(second.At("both")))
	main.At("main").Fault("is late")
	main.At("both").Include(fault.List{{File: "rules", Line: 1, Text: "no rule"}})
	const want = `z.toml:3: main is late
"y\n.toml": cannot be read: no
x.toml:2: not TOML: want KEY = VALUE (unexpected '=': key name appears blank)
d.toml: second: both is absent, unlike line 3
d.toml:3: first: both is own
d.toml:3: first: both is 5, want less than z.toml:3
d.toml:4: second: both (inherited from z.toml:1) contradicts main (inherited from z.toml:3)
rules:1: no rule`
	if got := set.Faults().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for name, want := range map[string]bool{"main": true, "both": true, "t": false} {
		if got := set.AnyFailed(name); got != want {
			t.Errorf("%s failed in some document: got %v, want %v", name, got, want)
		}
	}
}

func TestUnknownKeysAreInOrder(t *testing.T) {
	got := parsed(t, "z = 1\na = 2\nknown = 3\nm = 4\n").Top().Unknown([]string{"known", "other"})
	if want := []string{"z", "a", "m"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
