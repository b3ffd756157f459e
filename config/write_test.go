package config

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// written is what WriteTOML writes.
func written(t *testing.T, c Config) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.WriteTOML(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// roundTrip holds that WriteTOML writes what Load reads as the same, and nothing that drives a terminal.
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
	if !reflect.DeepEqual(back, c) {
		t.Errorf("got  %+v\nwant %+v\nfrom\n%s", back, c, text)
	}
}

func TestWriteTOMLIsReadBackAsTheSame(t *testing.T) {
	good, err := Load("testdata/good.toml")
	if err != nil {
		t.Fatal(err)
	}
	odd := Default()
	odd.Listeners[0].Banner = "\"\\\x00\a\b\t\n\v\f\r\x1b\x7f\u0085\u00a0é\u200b\u202e\u2028\U0001f600\U000e0001'''\"\"\""
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
