package record

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"tcpmux/internal/fuzzing"
)

var (
	alice = &Source{Listener: "tcpmux", Session: "8f3a-2c", Remote: "192.0.2.7:40312"}
	noon  = time.Date(2026, 11, 22, 13, 0, 5, 1234567, time.FixedZone("CET", 3600))
)

func TestText(t *testing.T) {
	e := NewEncoder(Text)
	e.Begin(alice, noon)
	for _, c := range []struct {
		name, got, want string
	}{
		{"open", string(e.Open(nil)), "2026-11-22T12:00:05.001234Z open from 192.0.2.7:40312\n"},
		{"whole", string(e.Message(nil, message("", "hello", "\n", ""))), "2026-11-22T12:00:05.001234Z from 192.0.2.7:40312: hello\n"},
		{"empty", string(e.Message(nil, &Message{})), "2026-11-22T12:00:05.001234Z from 192.0.2.7:40312: \n"},
		{"flagged", string(e.Message(nil, message("2 ", "x", "", "eof"))), "2026-11-22T12:00:05.001234Z from 192.0.2.7:40312 [eof]: x\n"},
		{"no message", string(e.Message([]byte("before\n"), message("\n", "", "", "between"))), "before\n"},
		{"close", string(e.Close(nil, "idle", 2, 9)), "2026-11-22T12:00:05.001234Z close from 192.0.2.7:40312: idle, 2 records, 9 bytes\n"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
}

// message is one of these parts.
func message(head, data, end, flag string) *Message {
	return &Message{Raw: []byte(head + data + end), HeadLen: len(head), EndLen: len(end), Flag: flag}
}

func TestJSON(t *testing.T) {
	e := NewEncoder(JSON)
	e.Begin(alice, noon)
	head := `{"time":"2026-11-22T12:00:05.001234Z","kind":"`
	who := `","listener":"tcpmux","session":"8f3a-2c","remote":"192.0.2.7:40312"`
	for _, c := range []struct {
		name, got, want string
	}{
		{"open", string(e.Open(nil)), head + "open" + who + "}\n"},
		{"whole", string(e.Message(nil, message("", `a "b" \`, "\r\n", ""))), head + "message" + who + `,"offset":0,"data":"a \"b\" \\","end":"\u000d\u000a"}` + "\n"},
		{"head", string(e.Message(nil, message("2 ", "hi", "", ""))), head + "message" + who + `,"offset":0,"head":"2 ","data":"hi"}` + "\n"},
		{"empty", string(e.Message(nil, message("", "", "\x00", ""))), head + "message" + who + `,"offset":0,"data":"","end":"\u0000"}` + "\n"},
		{"no message", string(e.Message(nil, message("\n", "", "", "between"))), head + "message" + who + `,"offset":0,"head":"\u000a","data":"","flag":"between"}` + "\n"},
		{"head and end as bytes", string(e.Message(nil, message("\xff", "x", "\xfe", ""))), head + "message" + who + `,"offset":0,"head_base64":"/w==","data":"x","end_base64":"/g=="}` + "\n"},
		{"bytes", string(e.Message(nil, message("", "\xff\n", "", "cut"))), head + "message" + who + `,"offset":0,"data_base64":"/wo=","flag":"cut"}` + "\n"},
		{"close", string(e.Close(nil, "eof", 1, 5)), head + "close" + who + `,"reason":"eof","records":1,"bytes":5}` + "\n"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
}

func TestStampFollowsTheClock(t *testing.T) {
	var s stamp
	for _, now := range []time.Time{
		noon, noon.Add(time.Microsecond), noon.Add(time.Second), noon.Add(-time.Hour), noon.Truncate(time.Second),
		{}, time.Unix(0, 0), time.Unix(0, -1), time.Unix(-1, 999_999_999), time.Date(1969, 2, 28, 23, 59, 59, 0, time.UTC),
		time.Date(2028, 2, 29, 0, 0, 0, 0, time.FixedZone("", 3600)), time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	} {
		s.set(now)
		if got, want := string(s.text[:]), now.UTC().Format("2006-01-02T15:04:05.000000Z"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestEscaped(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "hello, wörld 你好", "hello, wörld 你好"},
		{"forged line", "x\n2026-01-01T00:00:00.000000Z from 1.2.3.4:5: y", `x\x0a2026-01-01T00:00:00.000000Z from 1.2.3.4:5: y`},
		{"terminal", "\x1b[31m\x07\x7f", `\x1b[31m\x07\x7f`},
		{"backslash", `a\x0a`, `a\\x0a`},
		{"C1", "\u009b2J", `\u009b2J`},
		{"bad UTF-8", "a\xc3(\xff", `a\xc3(\xff`},
		{"surrogate", "\xed\xa0\x80", `\xed\xa0\x80`},
		{"replacement character itself", "\ufffd", "\ufffd"},
		{"separators", "\u2028\u2029", `\u2028\u2029`},
		{"bidirectional", "\u061c\u200e\u200f\u202a\u202e\u2066\u2069", `\u061c\u200e\u200f\u202a\u202e\u2066\u2069`},
		{"NUL and tab", "\x00\t", `\x00\x09`},
	} {
		if got := string(appendEscaped(nil, []byte(c.in))); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// TestWhichCharactersAreEscaped compares both formats, for every character, with lists of Unicode:
// control characters (general category Cc), line and paragraph separators (Zl, Zp) and
// bidirectional controls (property Bidi_Control).
func TestWhichCharactersAreEscaped(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if r == '"' || r == '\\' || !utf8.ValidRune(r) { // these have escapes of their own
			continue
		}
		raw := string(r)
		want := unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
		if got := string(appendEscaped(nil, []byte(raw))); (got != raw) != want {
			t.Errorf("%U in text: got %q, want it escaped: %v", r, got, want)
		}
		if got := string(appendBytes(nil, `,"data":"`, []byte(raw))); (got != `,"data":"`+raw+`"`) != want {
			t.Errorf("%U in json: got %q, want it escaped: %v", r, got, want)
		}
	}
}

// unescape is the inverse of appendEscaped, as the manual describes it: `\\`, `\xNN` and `\uNNNN`;
// all other characters are literal.
func unescape(t *testing.T, s string) (out []byte) {
	t.Helper()
	for {
		before, rest, found := strings.Cut(s, `\`)
		out = append(out, before...)
		if !found {
			return out
		}
		digits := map[byte]int{'x': 2, 'u': 4}[rest[0]]
		n, err := strconv.ParseUint("0"+rest[1:1+digits], 16, 32)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		switch rest[0] {
		case '\\':
			out = append(out, '\\')
		case 'x':
			out = append(out, byte(n))
		case 'u':
			out = utf8.AppendRune(out, rune(n))
		}
		s = rest[1+digits:]
	}
}

// checkLine fails if line is more than one line, or has characters that could control a terminal.
func checkLine(t *testing.T, line []byte) {
	t.Helper()
	body, ended := bytes.CutSuffix(line, []byte("\n"))
	if !ended {
		t.Fatalf("%q does not end with a line end", line)
	}
	if !utf8.Valid(body) {
		t.Fatalf("%q is no UTF-8", line)
	}
	for _, r := range string(body) {
		if unsafeRune(r) {
			t.Fatalf("%q holds %U", line, r)
		}
	}
}

// FuzzEncode: a record of any bytes is one safe line in both formats, and the bytes can be
// recovered.
func FuzzEncode(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	for _, s := range []string{"", "hello", `\x0a\\`, "\n\r\x00\x1b[0m", "\xff\xc3", "ab\u2028\u202e\u009b\u061c", "12345678\\234567\"1234567\x7f", "\xed\xa0\x80\xf4\x90\x80\x80"} {
		f.Add([]byte(s), int64(0))
		f.Add([]byte(strings.Repeat("x", 13)+s+"12345678"), int64(1)<<40)
	}
	text, js := NewEncoder(Text), NewEncoder(JSON)
	text.Begin(alice, noon)
	js.Begin(alice, noon)
	f.Fuzz(func(t *testing.T, data []byte, offset int64) {
		m := message(string(data[:len(data)/3]), string(data), string(data[len(data)/2:]), "")
		m.Offset = offset
		checkTLS(t, data, m)
		line := text.Message(nil, m)
		checkLine(t, line)
		head, body, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), ": ")
		if want := "2026-11-22T12:00:05.001234Z from 192.0.2.7:40312"; head != want {
			t.Errorf("got head %q, want %q", head, want)
		}
		if got := unescape(t, body); !bytes.Equal(got, data) {
			t.Errorf("text %q gives back %q, want %q", line, got, data)
		}

		line = js.Message(nil, m)
		checkLine(t, line)
		var rec map[string]any
		if err := json.Unmarshal(line, &rec); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if rec["offset"] != float64(offset) {
			t.Errorf("json %s: got offset %v, want %d", line, rec["offset"], offset)
		}
		checkMember(t, rec, "head", m.Head(), m.HeadLen > 0)
		checkMember(t, rec, "data", m.Data(), true)
		checkMember(t, rec, "end", m.End(), m.EndLen > 0)
	})
}

// checkMember fails unless rec has name for UTF-8 or name_base64 for other bytes, with the value
// want; or neither, if there is to be no value.
func checkMember(t *testing.T, rec map[string]any, name string, want []byte, there bool) {
	t.Helper()
	text, isText := rec[name].(string)
	encoded, isBase64 := rec[name+"_base64"].(string)
	if isText != (there && utf8.Valid(want)) || isBase64 != (there && !utf8.Valid(want)) {
		t.Errorf("%v: want %s for UTF-8, else %s_base64, and none when it is empty", rec, name, name)
	}
	got := []byte(text)
	if isBase64 {
		got, _ = base64.StdEncoding.DecodeString(encoded)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%v gives back %s %q, want %q", rec, name, got, want)
	}
}

func TestEncodingAllocatesNothing(t *testing.T) {
	source := hostile(alice, []byte("a.example"), bytes.Repeat([]byte("\"\x00\xff"), 100), 1)
	for _, format := range []Format{Text, JSON} {
		e, buf, m := NewEncoder(format), make([]byte, 0, 4096), message("5 ", "hello \x00 wörld\u2028", "\n", "cut")
		if n := testing.AllocsPerRun(100, func() {
			e.Begin(source, noon)
			buf = e.Message(e.Close(e.Open(buf[:0]), "eof", 1, 2), m)
		}); n != 0 {
			t.Errorf("format %d: got %v allocations a record, want 0", format, n)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	plain := bytes.Repeat([]byte("0123456789abcdef"), 16)
	object := bytes.Repeat([]byte(`{"t":1,"v":"ok"}`), 16)
	runes := []byte(strings.Repeat("wörld 你好 ", 16))
	hostile := bytes.Repeat([]byte("\x00\x1b[2J\\ \xff\u2028ü"), 16)
	for _, c := range []struct {
		name   string
		format Format
		data   []byte
	}{{"text", Text, plain}, {"json", JSON, plain}, {"json in json", JSON, object}, {"text, UTF-8", Text, runes}, {"json, UTF-8", JSON, runes}, {"text, escaped", Text, hostile}, {"json, base64", JSON, hostile}} {
		b.Run(c.name, func(b *testing.B) {
			e, buf, m := NewEncoder(c.format), make([]byte, 0, 4096), message("", string(c.data), "\n", "")
			b.SetBytes(int64(len(c.data)))
			b.ReportAllocs()
			for b.Loop() {
				e.Begin(alice, noon)
				buf = e.Message(buf[:0], m)
			}
		})
	}
}

// TestTheWayIsInTheRecord: in text only in the record of the opening, in JSON in all records.
func TestTheWayIsInTheRecord(t *testing.T) {
	const remote = "[2001:db8::1]:40312"
	for _, c := range []struct{ proxy, mux, text, json string }{
		{"10.0.0.1:5", "", " via 10.0.0.1:5", `,"proxy":"10.0.0.1:5"`},
		{"", "front", " via mux front", `,"mux":"front"`},
		{"10.0.0.1:5", "mux", " via 10.0.0.1:5 via mux mux", `,"proxy":"10.0.0.1:5","mux":"mux"`},
	} {
		src := &Source{Listener: "tcpmux", Session: "8f3a-2c", Remote: remote, Proxy: c.proxy, Mux: c.mux}
		for _, format := range []Format{Text, JSON} {
			e, p, heads := NewEncoder(format), NewParser(format), HeadParser{}
			e.Begin(src, time.Unix(1, 0))
			lines := []string{string(e.Open(nil)), string(e.Message(nil, message("", "x via mux y", "", ""))), string(e.Close(nil, "eof", 1, 8))}
			want := "1970-01-01T00:00:01.000000Z open from " + remote + c.text + "\n"
			if format == JSON {
				want = `{"time":"1970-01-01T00:00:01.000000Z","kind":"open","listener":"tcpmux","session":"8f3a-2c","remote":"` + remote + `"` + c.json + "}\n"
			}
			if lines[0] != want {
				t.Errorf("got %q, want %q", lines[0], want)
			}
			for i, line := range lines {
				line = strings.TrimSuffix(line, "\n")
				r, err := p.Parse([]byte(line))
				proxy, mux := c.proxy, c.mux
				if format == Text && i > 0 {
					proxy, mux = "", ""
				}
				if err != nil || r.Proxy != proxy || r.Mux != mux || r.Remote != remote {
					t.Errorf("%q: got %+v and %v, want %q via %q and %q", line, r, err, remote, proxy, mux)
				}
				if _, err := heads.Parse([]byte(line)); format == JSON && err != nil {
					t.Errorf("%q: its head: %v", line, err)
				}
			}
		}
	}
}
