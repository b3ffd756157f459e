package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpmux/config/document"
)

// written returns what WriteTOML writes.
func written(t *testing.T, c Config) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.WriteTOML(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// roundTrip holds that Load reads back what WriteTOML writes, and that it has no control
// characters.
func roundTrip(t *testing.T, c Config) {
	t.Helper()
	text := written(t, c)
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 }); i >= 0 {
		t.Errorf("got control character %q, want none in:\n%s", text[i], text)
	}
	back, err := parse(c.Path, []byte(text), false)
	if err != nil {
		t.Fatalf("got %v, want no error for:\n%s", err, text)
	}
	c.Warnings, back.Warnings = nil, nil // they name lines
	c.DropIns, c.Fingerprint, c.Listeners = nil, "", slices.Clone(c.Listeners)
	for i := range c.Listeners { // the text is one file
		c.Listeners[i].Source = c.Path
	}
	if !reflect.DeepEqual(back, c) {
		t.Errorf("got  %+v\nwant %+v\nfrom\n%s", back, c, text)
	}
}

func TestWriteTOMLRoundTrip(t *testing.T) {
	good, err := Load("testdata/good.toml")
	if err != nil {
		t.Fatal(err)
	}
	odd := Default()
	odd.Listeners[0].Banner = Text("\"\\\x00\a\b\t\n\v\f\r\x1b\x7f\u0085\u00a0é\u200b\u202e\u2028\U0001f600\U000e0001'''\"\"\"")
	odd.Listeners[0].Ack = Bytes{"{offset}\x00\x80\xff", true}
	odd.Limits.Refusal = Bytes{"\xd9\xdc", true}
	odd.Listeners[0].Limits.Refusal = odd.Limits.Refusal
	odd.Listeners[0].IdleTimeout = time.Millisecond
	odd.Record.MaxSize = 1<<50 - 1
	odd.Record.File = "a b\\c\"d"
	odd.DrainTimeout = 10 * 365 * 24 * time.Hour
	only := load(t, "address = []\ndrain_timeout = \"0s\"\nlistener = [{name = \"a\", address = \":1\"}]")
	lengths := load(t, "length_size = 2\nlistener = [{name = \"a\", address = \":1\", framing = \"length-prefixed\"}]")
	if got := lengths.Listeners[1].LengthSize; got != 2 {
		t.Errorf("length_size of the top: got %d in the listener, want 2", got)
	}
	for name, c := range map[string]Config{"default": Default(), "good": good, "odd": odd, "no main listener": only, "lengths": lengths} {
		t.Run(name, func(t *testing.T) { roundTrip(t, c) })
	}
}

// TestEveryFieldIsASetting holds that every field of a Config has a row in the table of keys.
func TestEveryFieldIsASetting(t *testing.T) {
	base := func() Config {
		c := Default()
		c.Listeners = append(c.Listeners, c.Listeners[0])
		c.Listeners[1].Name = "other"
		return c
	}
	before := written(t, base())
	fields := leaves(reflect.TypeFor[Config](), nil)
	for _, field := range append(fields, leaves(reflect.TypeFor[Listener](), []string{"Listeners"})...) {
		name := strings.Join(field, ".")
		// Not values of keys.
		if slices.Contains([]string{"Path", "DropIns", "Fingerprint", "Listeners", "Listeners.Source", "Listeners.MuxedBy", "Warnings"}, name) {
			continue
		}
		c := base()
		at := reflect.ValueOf(&c).Elem()
		for _, f := range field {
			if at = at.FieldByName(f); f == "Listeners" {
				at = at.Index(1)
			}
		}
		alter(t, at)
		if written(t, c) == before {
			t.Errorf("%s: got no setting that shows another value", name)
		}
	}
}

// leaves returns the paths of the fields below typ that hold a value.
func leaves(typ reflect.Type, above []string) (paths [][]string) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		path := append(slices.Clip(above), f.Name)
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[SourcePrefix]() && f.Type != reflect.TypeFor[Rate]() && f.Type != reflect.TypeFor[Bytes]() {
			paths = append(paths, leaves(f.Type, path)...)
		} else {
			paths = append(paths, path)
		}
	}
	return paths
}

// alter changes the value of v.
func alter(t *testing.T, v reflect.Value) {
	t.Helper()
	if rate, ok := v.Addr().Interface().(*Rate); ok {
		*rate = Rate{Count: 3, Per: time.Second}
		return
	}
	if bytes, ok := v.Addr().Interface().(*Bytes); ok {
		bytes.Raw += "x"
		return
	}
	if events, ok := v.Addr().Interface().(*Events); ok {
		*events = EventsOnData
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + int64(24*time.Hour))
	case reflect.Uint32:
		v.SetUint(v.Uint() + 1)
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Slice:
		item := reflect.New(v.Type().Elem()).Elem()
		if item.Type() == reflect.TypeFor[Bytes]() { // one that is empty is none
			alter(t, item)
		}
		v.Set(reflect.Append(v, item))
	case reflect.Struct:
		for i := range v.NumField() {
			alter(t, v.Field(i))
		}
	default:
		t.Fatalf("a field of kind %v: the test knows no other value of it", v.Kind())
	}
}

// TestEveryKeyRoundTripsWithAnotherValue holds that no key is read into the field of another.
func TestEveryKeyRoundTripsWithAnotherValue(t *testing.T) {
	good, err := Load("testdata/good.toml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(path, []byte("allow 192.0.2.0/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := []Config{
		good,
		load(t, fmt.Sprintf("survive = false\nlimits.rules = %q", path)),
		// There is one way to authenticate in a file.
		load(t, "forward.nkey = \"/a\""),
		load(t, "forward.token = \"credential:b\""),
		load(t, "forward.user = \"/c\"\nforward.password = \"/d\""),
	}
	var all []Setting
	for _, c := range files {
		roundTrip(t, c)
		all = append(all, c.Settings()...)
	}
	other := map[string]bool{}
	defaults := map[string]string{"name": document.QuoteTOML(MainListener), "record": "true"}
	for _, s := range Default().Settings() {
		defaults[s.Path()] = s.Value
	}
	for _, s := range all {
		other[s.Path()] = other[s.Path()] || s.Value != defaults[s.Path()]
	}
	for name, is := range other {
		if !is {
			t.Errorf("%s: got its default in all of the files, want another value in one", name)
		}
	}
}

func TestWriteTOMLText(t *testing.T) {
	c := load(t, `address = ":1"
[[listener]]
name = "a"
address = ["127.0.0.1:2", "localhost:3"]
max_message = "1536B"
idle_timeout = "90m"`)
	golden(t, "testdata/written.want", written(t, c))
}

func TestWriteTOMLReturnsTheWritersError(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close() // only w is looked at
	_ = w.Close() // so that writing fails
	if err := Default().WriteTOML(w); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v, want %v", err, os.ErrClosed)
	}
}
