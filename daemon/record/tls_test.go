package record

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestLongNamesAreBounded(t *testing.T) {
	long := strings.Repeat("ü", MaxSubject)
	for _, c := range []struct{ name, in string }{
		{"none", ""},
		{"as long as can be", strings.Repeat("x", MaxSubject)},
		{"runes", long},
		{"runes that are cut elsewhere", "x" + long},
		{"wide runes", strings.Repeat("\U0001f600", MaxSubject)},
		{"wide runes that are cut elsewhere", "xx" + strings.Repeat("\U0001f600", MaxSubject)},
		{"no runes", strings.Repeat("\x80", MaxSubject+1)},
	} {
		got := TLS{Version: "1.3", Cipher: "c", Subject: c.in}.Bounded()
		if len(got.Subject) > MaxSubject || utf8.ValidString(c.in) && !utf8.ValidString(got.Subject) {
			t.Errorf("%s: got %d bytes, %q, want at most %d, and UTF-8 if it was", c.name, len(got.Subject), got.Subject, MaxSubject)
		}
		if same := got.Subject == c.in; same != (len(c.in) <= MaxSubject) || got.Bounded() != got {
			t.Errorf("%s: got %q, want it as it was only if it is short, and not changed again", c.name, got.Subject)
		}
	}
	one, other := TLS{ServerName: strings.Repeat("x", 1000) + "a"}.Bounded(), TLS{ServerName: strings.Repeat("x", 1000) + "b"}.Bounded()
	if len(one.ServerName) != MaxServerName || one == other {
		t.Errorf("got %q and %q, want different ones of %d bytes", one.ServerName, other.ServerName, MaxServerName)
	}
}

// client is one with all that TLS tells, and names that want to be more than names.
var client = &Source{Listener: "tcpmux", Session: "8f3a-2c", Remote: "192.0.2.7:40312", TLS: &TLS{
	Version: "1.3", Cipher: "TLS_AES_128_GCM_SHA256", ServerName: "a\",\"kind\":\"open", Subject: "CN=\\\x1b[2J\n\u2028ü",
}}

func TestTLSIsInTheRecord(t *testing.T) {
	const stamp = "1970-01-01T00:00:01.000000Z"
	const jsonTLS = `,"tls":{"version":"1.3","cipher":"TLS_AES_128_GCM_SHA256","sni":"a\",\"kind\":\"open","subject":"CN=\\\u001b[2J\u000a\u2028ü"}`
	const textTLS = ` tls=1.3 cipher=TLS_AES_128_GCM_SHA256 sni="a\",\"kind\":\"open" subject="CN=\\\x1b[2J\x0a\u2028ü"`
	who := func(kind string) string { return `{"time":"` + stamp + `","kind":"` + kind + `"` + someSource }
	for _, c := range []struct {
		name   string
		format Format
		want   [3]string // open, message, close
	}{
		{"text", Text, [3]string{stamp + " open from 192.0.2.7:40312" + textTLS, stamp + " from 192.0.2.7:40312: x",
			stamp + " close from 192.0.2.7:40312: eof, 1 records, 1 bytes" + textTLS}},
		{"json", JSON, [3]string{who("open") + jsonTLS + "}",
			who("message") + `,"subject":"CN=\\\u001b[2J\u000a\u2028ü","offset":0,"data":"x"}`,
			who("close") + jsonTLS + `,"reason":"eof","records":1,"bytes":1}`}},
	} {
		e := NewEncoder(c.format)
		e.Begin(client, time.Unix(1, 0))
		for i, got := range [][]byte{e.Open(nil), e.Message(nil, message("", "x", "", "")), e.Close(nil, "eof", 1, 1)} {
			checkLine(t, got)
			if string(got) != c.want[i]+"\n" {
				t.Errorf("%s: got %s, want %s", c.name, got, c.want[i])
			}
		}
	}
}

// TestThePreviousClientIsForgotten: an encoder is used for one client after the other.
func TestThePreviousClientIsForgotten(t *testing.T) {
	for _, format := range []Format{Text, JSON} {
		used, fresh := NewEncoder(format), NewEncoder(format)
		used.Begin(client, noon)
		used.Message(nil, message("", "x", "", ""))
		nameless := *client
		nameless.TLS = &TLS{Version: "1.3"}
		for _, next := range []*Source{alice, &nameless} {
			used.Begin(next, noon)
			fresh.Begin(next, noon)
			got, want := used.Message(used.Open(nil), message("", "x", "", "")), fresh.Message(fresh.Open(nil), message("", "x", "", ""))
			if string(got) != string(want) || strings.Contains(string(got), "subject") {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
}

// TestNamesThatAreNoUTF8: JSON has them in base64, as it has messages.
func TestNamesThatAreNoUTF8(t *testing.T) {
	e := NewEncoder(JSON)
	e.Begin(hostile(alice, []byte("\xff"), []byte("\xfe"), 1), noon)
	for _, c := range []struct{ got, want string }{
		{string(e.Open(nil)), `"sni_base64":"/w==","subject_base64":"/g=="}}`},
		{string(e.Message(nil, &Message{})), `,"subject_base64":"/g==","offset":0,`},
	} {
		if checkLine(t, []byte(c.got)); !strings.Contains(c.got, c.want) {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}

// checkTLS fails unless the records of a client with these names are safe lines that give them
// back.
func checkTLS(t *testing.T, name []byte, m *Message) {
	t.Helper()
	source := hostile(alice, name, name[len(name)/2:], 1)
	text, js := NewEncoder(Text), NewEncoder(JSON)
	text.Begin(source, noon)
	js.Begin(source, noon)
	for _, line := range [][]byte{text.Open(nil), text.Close(nil, "eof", 1, 2), js.Open(nil), js.Close(nil, "eof", 1, 2), js.Message(nil, m)} {
		checkLine(t, line)
	}
	var rec struct {
		TLS map[string]any `json:"tls"`
	}
	if err := json.Unmarshal(js.Open(nil), &rec); err != nil {
		t.Fatalf("%s: %v", js.Open(nil), err)
	}
	checkMember(t, rec.TLS, "sni", []byte(source.TLS.ServerName), source.TLS.ServerName != "")
	checkMember(t, rec.TLS, "subject", []byte(source.TLS.Subject), source.TLS.Subject != "")
}

func BenchmarkEncodeTLS(b *testing.B) {
	for _, c := range []struct {
		name   string
		format Format
	}{{"text", Text}, {"json", JSON}} {
		b.Run(c.name, func(b *testing.B) {
			e, buf, m := NewEncoder(c.format), make([]byte, 0, 4096), message("", strings.Repeat("0123456789abcdef", 16), "\n", "")
			source := hostile(alice, []byte("tcpmux.example"), []byte("CN=device-0815,OU=meters,O=Example,C=DE"), 1)
			b.ReportAllocs()
			for b.Loop() {
				e.Begin(source, noon)
				buf = e.Message(buf[:0], m)
			}
		})
	}
}
