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
			e.Begin(alice, now)
			m := message(string(head), string(data), string(end), flag)
			m.Offset = offset
			want := []Record{
				{Time: now, Kind: KindMessage, Source: *alice, Message: *m},
				{Time: now, Kind: KindOpen, Source: *alice},
				{Time: now, Kind: KindClose, Source: *alice, Reason: "eof", Records: 3, Bytes: offset},
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

// same compares records. A text record lacks some fields.
func same(got, want Record, format Format) bool {
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
		e.Begin(alice, noon)
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
