package config

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tcpmux/internal/fuzzing"
)

func init() { fuzzing.FixRapid() }

func TestBytes(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       Bytes
		shown      string // as WriteTOML has it
	}{
		{"text", `banner = "a\r\n"`, Text("a\r\n"), `"a\r\n"`},
		{"hex", `banner = { hex = "78 78 05 01 d9 dc" }`, Bytes{"xx\x05\x01\xd9\xdc", true}, `{ hex = "78 78 05 01 d9 dc" }`},
		{"hex of text", `banner = { hex = "7b74696d657d" }`, Bytes{"{time}", true}, `{ hex = "7b 74 69 6d 65 7d" }`},
		{"blanks where one likes", "banner = { hex = \"\"\"\n 7878\t05\r\n01 D9dc\n\"\"\" }", Bytes{"xx\x05\x01\xd9\xdc", true}, `{ hex = "78 78 05 01 d9 dc" }`},
		{"a table of its own", "[banner]\nhex = \"0D\"", Bytes{"\r", true}, `{ hex = "0d" }`},
		{"a dotted key", `banner.hex = '0d'`, Bytes{"\r", true}, `{ hex = "0d" }`},
		{"no hex", `banner = { hex = "" }`, Bytes{}, `""`},
	} {
		c := load(t, tc.text)
		if got := c.Listeners[0].Banner; got != tc.want || got.String() != tc.shown || len(c.Warnings) > 0 {
			t.Errorf("%s: got %q, written %s, warnings %q, want %q, written %s, none", tc.name, got.Raw, got, c.Warnings, tc.want.Raw, tc.shown)
		}
		roundTrip(t, c)
	}
}

func TestInvalidBytes(t *testing.T) {
	const want = `two hexadecimal digits for each byte, such as "78 78 0d 0a"`
	for _, tc := range []struct{ name, text, want string }{
		{"a number", `ack = 5`, `t.toml:1: ack is 5, want text or bytes, at most 1KiB: a string in quotes, or { hex = "0d 0a" }`},
		{"too much text", `ack = "` + strings.Repeat("x", 1025) + `"`, `t.toml:1: ack is "` + strings.Repeat("x", 60) + `"…, want text or bytes, at most 1KiB: a string in quotes, or { hex = "0d 0a" }`},
		{"too many bytes", "ack = {\nhex = \"" + strings.Repeat("00", 1025) + "\" }", `t.toml:2: ack.hex is 1025 bytes long, want at most 1KiB`},
		{"half a byte", `ack = { hex = "0d a" }`, `t.toml:1: ack.hex is "0d a", want ` + want},
		{"two halves", `ack = { hex = "0 d" }`, `t.toml:1: ack.hex is "0 d", want ` + want},
		{"no digit", `ack = { hex = "0x0d" }`, `t.toml:1: ack.hex is "0x0d", want ` + want},
		{"no text", `ack = { hex = 13 }`, `t.toml:1: ack.hex is 13, want ` + want},
		{"nothing", `ack = {}`, `t.toml:1: ack.hex is missing, want ` + want},
		{"another key", `ack = { hex = "0d", text = "a" }`, `t.toml:1: ack.text is not a key here`},
		{"a key misspelt", `limits.refusal = { Hex = "0d" }`,
			"t.toml:1: limits.refusal.Hex is not a key here; keys are lower case: did you mean \"hex\"?\nt.toml:1: limits.refusal.hex is missing, want " + want},
		{"of a listener", "[[listener]]\nname = 'a'\naddress = ':1'\nbanner = { hex = 'g' }", `t.toml:4: listener "a": banner.hex is "g", want ` + want},
	} {
		_, err := parse("t.toml", []byte(tc.text), false)
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s: got\n%v\nwant\n%s", tc.name, err, tc.want)
		}
	}
}

// TestEscapesMeantForBytes: an escape of TOML is a character, and from U+0080 that is several
// bytes.
func TestEscapesMeantForBytes(t *testing.T) {
	const is = "a character that is sent as the two bytes "
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"a byte", `banner = "xx\x05\x01\xd9\xdc"`, []string{
			`t.toml:1: banner has \xd9, ` + is + `c3 99: bytes are written { hex = "78 78 05 01 d9 dc" }`}},
		{"four digits", `ack = "\u0080"`, []string{`t.toml:1: ack has \u0080, ` + is + `c2 80: bytes are written { hex = "80" }`}},
		{"eight digits", "limits.refusal = \"\"\"\nno \\\n  \\U000000FF\"\"\"", []string{
			`t.toml:1: limits.refusal has \U000000FF, ` + is + `c3 bf: bytes are written { hex = "6e 6f 20 ff" }`}},
		{"beside what is no byte", `banner = "€\xe9"`, []string{`t.toml:1: banner has \xe9, ` + is + `c3 a9: bytes are written { hex = "e9" }`}},
		{"in a long text", `banner = "a text of more bytes \xe9"`, []string{`t.toml:1: banner has \xe9, ` + is + `c3 a9: bytes are written { hex = "e9" }`}},
		{"in a listener", "[[listener]]\nname = 'a'\naddress = ':1'\nbanner = \"\\xff\"", []string{
			`t.toml:4: listener "a": banner has \xff, ` + is + `c3 bf: bytes are written { hex = "ff" }`}},
		{"the character itself", `banner = "é"`, nil},
		{"ASCII", `banner = "\x7f\u0000"`, nil},
		{"another character", `banner = "\u20ac\u0100\U0001F600"`, nil},
		{"a backslash", `banner = "\\xd9"`, nil},
		{"no escape", `banner = '\xd9'`, nil},
		{"no bytes", `record.file = "\xd9"`, nil},
	} {
		if got := load(t, tc.text).Warnings; !slices.Equal(got, tc.want) {
			t.Errorf("%s: got\n%q\nwant\n%q", tc.name, got, tc.want)
		}
	}
}

// TestBytesRoundTrip holds that bytes are read back as they were written, as text and as hex.
func TestBytesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := Text(rapid.String().Draw(t, "text"))
		if rapid.Bool().Draw(t, "hex") {
			b = Bytes{string(rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "bytes")), true}
		}
		c, err := parse("t.toml", []byte("banner = "+b.String()), false)
		if err != nil || c.Listeners[0].Banner != b {
			t.Errorf("%s: got %q and %v, want %q", b, c.Listeners[0].Banner.Raw, err, b.Raw)
		}
	})
}
