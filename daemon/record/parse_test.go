package record

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"tcpmux/internal/fuzzing"
)

// What the lines of the tables below begin with.
const (
	someTime, someSource  = "2026-11-22T12:00:05.001234Z", `,"listener":"tcpmux","session":"8f3a-2c","remote":"192.0.2.7:40312"`
	openLine, messageLine = `{"time":"` + someTime + `","kind":"open"` + someSource, `{"time":"` + someTime + `","kind":"message"` + someSource + `,"offset":7`
)

// The TLS of some lines, and a message of a client with a certificate.
const (
	someTLS       = `,"tls":{"version":"1.3","cipher":"TLS_AES_128_GCM_SHA256","sni":"a.example","subject":"CN=\"x\",O=\u000aü"}`
	messageSource = `{"time":"` + someTime + `","kind":"message"` + someSource
	subjectLine   = messageSource + `,"subject":"CN=\"x\\\\,O=\u000aü"`
)

// line is what a parser is given, and what its error has to contain; "" is no error.
type line struct{ name, line, want string }

var jsonLines = []line{
	{"open", openLine + `}`, ""},
	{"close", `{"time":"` + someTime + `","kind":"close"` + someSource + `,"reason":"signal 9","records":2,"bytes":9}`, ""},
	{"message", messageLine + `,"data":"x"}`, ""},
	{"message with all", messageLine + `,"head":"2 ","data":"x","end":"\u000a","flag":"cut"}`, ""},
	{"base64", messageLine + `,"data_base64":"/w=="}`, ""},
	{"nothing", ``, `byte 1: got the end, want {"time":"`},
	{"no kind of ours", `{"time":"` + someTime + `","kind":"party"` + someSource + `}`, `kind "party", want open, message or close`},
	{"something behind it", openLine + `} `, `got " ", want the end of the record`},
	{"a piece", openLine[:40], `byte 37: got "\",\"k", want ","kind":"`},
	{"another key", messageLine + `,"date":"x"}`, `byte 133: got ",\"date\":\"x\"}", want ,"data":" or ,"data_base64":"`},
	{"keys in another order", messageLine + `,"data":"x","head":"y"}`, `want }`},
	{"blanks", strings.ReplaceAll(openLine, ":", ": ") + `}`, `byte 1: got "{\"time\": \"2026-1"…, want {"time":"`},
	{"no such day", strings.Replace(openLine, "11-22", "11-31", 1) + `}`, `byte 10: got "2026-11-31T12:00"…, want a time`},
	{"no digit in the time", strings.Replace(openLine, "001234", "00123a", 1) + `}`, `stands where`},
	{"another zone", strings.Replace(openLine, "1234Z", "1234+", 1) + `}`, `byte 36: "+\",\"kind\":\"open\""… stands where "Z\",\"kind\":\"open\""… would be written`},
	{"an escape of JSON that is none of ours", messageLine + `,"data":"\n"}`, `got "\\n\"}", want an escape that records have`},
	{"an escape for what needs none", messageLine + `,"data":"\u0041"}`, `byte 142: "\\u0041\"}" stands where "A\"}" would be written`},
	{"no escape for what needs one", messageLine + `,"data":"` + "\u202e" + `"}`, `would be written`},
	{"capital hexadecimal digits", messageLine + `,"data":"\u000A"}`, `byte 147: "A\"}" stands where "a\"}" would be written`},
	{"no hexadecimal digits", messageLine + `,"data":"\u00-1"}`, `want hexadecimal digits`},
	{"bad UTF-8 as it is", messageLine + `,"data":"` + "\xff" + `"}`, `would be written`},
	{"base64 of UTF-8", messageLine + `,"data_base64":"eA=="}`, `byte 139: "_base64\":\"eA==\"}" stands where "\":\"x\"}" would be written`},
	{"no base64", messageLine + `,"data_base64":"e"}`, `data_base64: this is no base64`},
	{"base64 with rest bits", messageLine + `,"data_base64":"/x=="}`, `this is no base64`},
	{"base64 without an end", messageLine + `,"data_base64":"/w==`, `want "`},
	{"empty head", messageLine + `,"head":"","data":"x"}`, `byte 135: "head\":\"\",\"data\":"… stands where "data\":\"x\"}" would be written`},
	{"offset with a zero before it", strings.Replace(messageLine, ":7", ":07", 1) + `,"data":"x"}`, `byte 132: "07,\"data\":\"x\"}" stands where "7,\"data\":\"x\"}" would be written`},
	{"offset below zero", strings.Replace(messageLine, ":7", ":-7", 1) + `,"data":"x"}`, `want a number`},
	{"offset beyond all", strings.Replace(messageLine, ":7", ":9223372036854775808", 1) + `,"data":"x"}`, `want a smaller number`},
	{"the greatest offset", strings.Replace(messageLine, ":7", ":9223372036854775807", 1) + `,"data":"x"}`, ``},
	{"control character in a name", strings.Replace(openLine, "tcpmux", "tcp\x1bmux", 1) + `}`, `want ","session":"`},
	{"TLS", openLine + someTLS + `}`, ""},
	{"TLS of a client without a name", openLine + `,"tls":{"version":"1.2","cipher":"X"}}`, ""},
	{"TLS of a close", `{"time":"` + someTime + `","kind":"close"` + someSource + someTLS + `,"reason":"eof","records":2,"bytes":9}`, ""},
	{"TLS behind a proxy", openLine + `,"proxy":"10.0.0.1:5"` + someTLS + `}`, ""},
	{"subject", subjectLine + `,"offset":7,"data":"x"}`, ""},
	{"subject that is no UTF-8", messageSource + `,"subject_base64":"/w==","offset":7,"data":"x"}`, ""},
	{"TLS of a message", messageSource + someTLS + `,"offset":7,"data":"x"}`, `want ,"offset":`},
	{"subject of an opening", openLine + `,"subject":"CN=x"}`, `want }`},
	{"subject behind the offset", messageLine + `,"subject":"CN=x","data":"x"}`, `want ,"data":"`},
	{"empty subject", messageSource + `,"subject":"","offset":7,"data":"x"}`, `would be written`},
	{"TLS without a version", openLine + `,"tls":{}}`, `want }`},
	{"TLS in another order", openLine + `,"tls":{"version":"1.3","sni":"x","cipher":"X"}}`, `want }`},
	{"subject without a quote at its end", messageSource + `,"subject":"CN=x`, `want a closing quote`},
	{"subject with a quote inside", messageSource + `,"subject":"CN="x","offset":7,"data":"x"}`, `want ,"offset":`},
	{"subject of escapes that are not needed", messageSource + `,"subject":"\u0041","offset":7,"data":"x"}`, `would be written`},
	{"subject that is too long", messageSource + `,"subject":"` + strings.Repeat("x", MaxSubject+1) + `","offset":7,"data":"x"}`, `subject has 490 bytes, want at most 489`},
	{"subject that is just short enough", messageSource + `,"subject":"` + strings.Repeat("x", MaxSubject) + `","offset":7,"data":"x"}`, ""},
	{"server name that is too long", openLine + `,"tls":{"version":"1.3","sni":"` + strings.Repeat("x", MaxServerName+1) + `"}}`, `sni has 256 bytes, want at most 255`},
	{"text in JSON", someTime + " open from 192.0.2.7:40312", `byte 1: got "2026-11-22T12:00"…, want {"time":"`},
}

var textLines = []line{
	{"open", someTime + " open from [::1]:5", ""},
	{"close", someTime + " close from [::1]:5: eof, 2 records, 9 bytes", ""},
	{"close with a number", someTime + " close from [::1]:5: exit 3, 2 records, 9 bytes", ""},
	{"close with a blank and no number", someTime + " close from [::1]:5: exit x, 2 records, 9 bytes", "want a number"},
	{"close with two numbers", someTime + " close from [::1]:5: exit 3 4, 2 records, 9 bytes", "want , "},
	{"message", someTime + " from [::1]:5: a: b [c]: d", ""},
	{"empty message", someTime + " from [::1]:5: ", ""},
	{"flagged", someTime + ` from [::1]:5 [eof]: \\\x0a\u202eü`, ""},
	{"no blank behind the colon", someTime + " from [::1]:5:", `want  `},
	{"no address", someTime + " from  x", `want an address`},
	{"flag in capitals", someTime + " from [::1]:5 [EOF]: x", `want a word`},
	{"a flag that does not end", someTime + " from [::1]:5 [eof: x", `want ]: `},
	{"an escape that is none", someTime + ` from [::1]:5: \n`, `want an escape that records have`},
	{"an escape cut short", someTime + ` from [::1]:5: \x0`, `want 2 bytes more`},
	{"an escape for what needs none", someTime + ` from [::1]:5: \x41`, `stands where "A" would be written`},
	{"a control character", someTime + " from [::1]:5: a\x1b[2J", `byte 44: "\x1b[2J" stands where "\\x1b[2J" would be written`},
	{"close with one record fewer words", someTime + " close from [::1]:5: eof, 2 records", `want  records, `},
	{"close without its colon", someTime + " close from [::1]:5 eof, 2 records, 9 bytes", `stands where ": eof, 2 records"… would be written`},
	{"open with TLS", someTime + ` open from [::1]:5 tls=1.3 cipher=X sni="a.example" subject="CN=\"x\\\x1b\u202e tls=1.2"`, ""},
	{"open with TLS alone", someTime + ` open from [::1]:5 tls=1.3`, ""},
	{"open with TLS behind a proxy", someTime + ` open from [::1]:5 via 10.0.0.1:5 tls=1.3 cipher=X`, ""},
	{"close with TLS", someTime + ` close from [::1]:5: eof, 2 records, 9 bytes tls=1.2 cipher=X subject="\xff"`, ""},
	{"TLS without a version", someTime + ` open from [::1]:5 tls=`, "want an address"},
	{"a subject without TLS", someTime + ` open from [::1]:5 subject="x"`, "want the end of the record"},
	{"an empty server name", someTime + ` open from [::1]:5 tls=1.3 sni=""`, "would be written"},
	{"a subject without its last quote", someTime + ` open from [::1]:5 tls=1.3 subject="x`, "want a closing quote"},
	{"a subject without its first quote", someTime + ` open from [::1]:5 tls=1.3 subject=x"`, "want the end of the record"},
	{"a subject that is too long", someTime + ` open from [::1]:5 tls=1.3 subject="` + strings.Repeat("x", MaxSubject+1) + `"`, "subject has 490 bytes"},
	{"something behind the subject", someTime + ` open from [::1]:5 tls=1.3 subject="x" `, "want the end of the record"},
	{"what text does not record", someTime + " from [::1]:5 [between]: ", "byte 1: "},
	{"JSON in text", openLine + `}`, `want a time`},
}

func TestParseRefusesWhatTheEncoderDoesNotWrite(t *testing.T) {
	for _, format := range []struct {
		name  string
		of    Format
		lines []line
	}{
		{"JSON", JSON, jsonLines},
		{"text", Text, textLines},
	} {
		for _, c := range format.lines {
			_, err := NewParser(format.of).Parse([]byte(c.line))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %s: got %v, want %q\n%s", format.name, c.name, err, c.want, c.line)
			}
		}
	}
}

// FuzzParse: the parser reads back what the encoder writes, and reads nothing else.
func FuzzParse(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	for _, s := range []string{"", "hello", `\x0a\\`, "\n\r\x00\x1b[0m", "\xff\xc3", "ab\u2028\u202e\u009b\u061c\U0001f600", "2026-11-22T12:00:05.001234Z from 1.2.3.4:5: x"} {
		f.Add([]byte(s), []byte("\x00\x01"), []byte("\r\n"), int64(7), int64(1_900_000_000_123_456), "cut")
		f.Add([]byte(s), []byte{}, []byte(s), int64(math.MaxInt64), int64(0), "")
		f.Add([]byte(s), []byte("\n"), []byte{}, int64(7), int64(0), Between)
	}
	f.Fuzz(func(t *testing.T, data, head, end []byte, offset, micros int64, flag string) {
		const year9999 = 253_402_300_799_999_999
		if offset < 0 || micros < 0 || micros > year9999 || strings.Trim(flag, "abcdefghijklmnopqrstuvwxyz") != "" {
			return
		}
		now := time.UnixMicro(micros).UTC()
		for _, format := range []Format{Text, JSON} {
			e, p := NewEncoder(format), NewParser(format)
			source := hostile(alice, head, data, offset)
			e.Begin(source, now)
			m := message(string(head), string(data), string(end), flag)
			m.Offset = offset
			want := []Record{
				{Time: now, Kind: KindMessage, Source: *source, Message: *m},
				{Time: now, Kind: KindOpen, Source: *source},
				{Time: now, Kind: KindClose, Source: *source, Reason: "eof", Records: 3, Bytes: offset},
			}
			for i, line := range [][]byte{e.Message(nil, m), e.Open(nil), e.Close(nil, "eof", 3, offset)} {
				if len(line) == 0 && format == Text && flag == Between {
					continue
				}
				got, err := p.Parse(bytes.TrimSuffix(line, []byte("\n")))
				if err != nil {
					t.Fatalf("%q: got %v, want a record", line, err)
				}
				if !same(*got, want[i], format) {
					t.Errorf("%q: got %+v, want %+v", line, *got, want[i])
				}
			}
			if r, err := p.Parse(data); err == nil {
				e.Begin(&r.Source, r.Time)
				var again []byte
				switch r.Kind {
				case KindMessage:
					again = e.Message(nil, &r.Message)
				case KindOpen:
					again = e.Open(nil)
				case KindClose:
					again = e.Close(nil, r.Reason, r.Records, r.Bytes)
				}
				if string(again) != string(data)+"\n" {
					t.Errorf("%q is read, and would be written %q", data, again)
				}
			}
		}
	})
}

// hostile returns a source with these names if the number is odd, else the source itself.
func hostile(src *Source, server, subject []byte, odd int64) *Source {
	if odd&1 == 0 {
		return src
	}
	with, t := *src, TLS{Version: "1.3", Cipher: "TLS_AES_128_GCM_SHA256", ServerName: string(server), Subject: string(subject)}.Bounded()
	with.TLS = &t
	return &with
}

// tlsOf returns the TLS that a record has of its source.
func tlsOf(src *Source, kind Kind, format Format) (t TLS) {
	switch {
	case src.TLS == nil:
	case kind != KindMessage:
		t = *src.TLS
	case format == JSON:
		t.Subject = src.TLS.Subject
	}
	return t
}

// same compares records. A text record lacks some fields.
func same(got, want Record, format Format) bool {
	if tlsOf(&got.Source, got.Kind, format) != tlsOf(&want.Source, got.Kind, format) ||
		got.TLS != nil && format == Text && got.Kind == KindMessage {
		return false
	}
	got.TLS, want.TLS = nil, nil
	if format == Text {
		want.Listener, want.Session = "", ""
		want.Message = *message("", string(want.Data()), "", want.Flag)
	}
	return got.Time.Equal(want.Time) && got.Kind == want.Kind && got.Source == want.Source && got.Offset == want.Offset &&
		bytes.Equal(got.Raw, want.Raw) && got.HeadLen == want.HeadLen && got.EndLen == want.EndLen &&
		got.Flag == want.Flag && got.Reason == want.Reason && got.Records == want.Records && got.Bytes == want.Bytes
}

func TestParsingAllocatesNothing(t *testing.T) {
	for _, format := range []Format{Text, JSON} {
		e, p := NewEncoder(format), NewParser(format)
		e.Begin(hostile(alice, []byte("a.example"), []byte("CN=\xff\"\u2028,O=a name that is rather long, as some are"), 1), noon)
		lines := [][]byte{
			e.Open(nil), e.Close(nil, "idle", 2, 9),
			e.Message(nil, message("5 ", "hello \x00 wörld\u2028", "\n", "cut")),
			e.Message(nil, message("", "\xff", "", "")),
		}
		if n := testing.AllocsPerRun(100, func() {
			for _, line := range lines {
				if _, err := p.Parse(line[:len(line)-1]); err != nil {
					t.Fatal(err)
				}
			}
		}); n != 0 {
			t.Errorf("format %d: got %v allocations, want 0", format, n)
		}
	}
}
