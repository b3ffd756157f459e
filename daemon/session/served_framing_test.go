package session_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/framing"
	"tcpmux/daemon/servertest"
)

// framings are those that a listener can have, each with what frames a message. The framing chunk
// has nothing for that: its messages are what the network makes of them.
var framings = []struct {
	name  string
	set   func(*config.Listener)
	frame func(data string) (head, end string)
}{
	{"nul", nil, func(string) (string, string) { return "", "\x00" }},
	{"chunk", nil, nil},
	{"octet-counted", nil, func(data string) (string, string) {
		if strings.HasPrefix(data, "<") {
			return "", "\r\n"
		}
		return fmt.Sprintf("%d ", len(data)), ""
	}},
	// With line ends, NUL or spaces behind the message before.
	{"octet-counted", nil, func(data string) (string, string) {
		between := []string{"\n", "\r\n", "\x00", "  "}[len(data)%4]
		if strings.HasPrefix(data, "<") {
			return between, "\x00"
		}
		return fmt.Sprintf("%s%d ", between, len(data)), ""
	}},
	{"length-prefixed", func(l *config.Listener) { l.LengthSize = 1 }, func(data string) (string, string) {
		return string([]byte{byte(len(data))}), ""
	}},
	{"length-prefixed", func(l *config.Listener) { l.LengthSize, l.LengthOrder = 2, "little" }, func(data string) (string, string) {
		return string(binary.LittleEndian.AppendUint16(nil, uint16(len(data)))), ""
	}},
	{"length-prefixed", func(l *config.Listener) { l.LengthSize, l.LengthOffset, l.LengthAdjust = 3, 2, -5 }, func(data string) (string, string) {
		return "xx" + string(binary.BigEndian.AppendUint32(nil, uint32(len(data)+5))[1:]), ""
	}},
	{"delimited", func(l *config.Listener) { l.Delimiter = []config.Bytes{config.Text("\r")} }, func(string) (string, string) { return "", "\r" }},
	{"delimited", func(l *config.Listener) {
		l.Delimiter = []config.Bytes{config.Text("\r\n"), config.Text("\n"), {Raw: "\x00\x01\x02\x03", Hex: true}}
	}, func(data string) (string, string) {
		return "", []string{"\r\n", "\n", "\x00\x01\x02\x03"}[len(data)%3]
	}},
	{"delimited", func(l *config.Listener) {
		l.Delimiter, l.Start = []config.Bytes{{Raw: "\x1c\r", Hex: true}}, config.Bytes{Raw: "\x0b", Hex: true}
	}, func(data string) (string, string) {
		return strings.Repeat("\n", len(data)%60) + "\x0b", "\x1c\r"
	}},
	{"fixed", func(l *config.Listener) { l.MessageSize = 70 }, nil},
	{"silence", func(l *config.Listener) { l.Silence = time.Millisecond }, nil},
	{"length-prefixed", nil, func(data string) (string, string) {
		return string(binary.BigEndian.AppendUint32(nil, uint32(len(data)))), ""
	}},
}

// TestConfigurationKnowsTheFramings: it refuses all others, and the manual pages name them.
func TestConfigurationKnowsTheFramings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tcpmux.toml")
	if err := os.WriteFile(path, []byte(`framing = ""`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, fault := config.Load(path)
	_, unknown := framing.ParseKind("")
	if fault == nil || unknown == nil {
		t.Fatalf("got %v and %v, want both to refuse a framing without a name", fault, unknown)
	}
	quoted := func(err error) []string { return regexp.MustCompile(`"[a-z-]+"`).FindAllString(err.Error(), -1) }
	want := quoted(unknown)
	if got := quoted(fault); len(want) < 5 || !slices.Equal(got, want) {
		t.Errorf("got %q known to the configuration, want %q", got, want)
	}
	for _, page := range []string{"../../packaging/tcpmux.toml", "../../packaging/man/tcpmux.toml.5"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range want {
			if !strings.Contains(strings.NewReplacer(`\-`, "-", `\(dq`, `"`).Replace(string(text)), name) {
				t.Errorf("%s: got no %s", page, name)
			}
		}
	}
}

// TestEveryFramingGivesBackWhatWasSent: its messages, and byte for byte the stream.
func TestEveryFramingGivesBackWhatWasSent(t *testing.T) {
	const clients, most = 3, 100
	for _, kind := range framings {
		cfg := func(c *config.Config) {
			c.Listeners[0].Framing, c.Listeners[0].MaxMessage, c.Record.Format = kind.name, most, "json"
			if kind.set != nil {
				kind.set(&c.Listeners[0])
			}
		}
		l := servertest.Config(cfg).Listeners[0]
		t.Run(fmt.Sprintf("%s %d %s %d %q", kind.name, l.LengthSize, l.LengthOrder, l.LengthOffset, l.Delimiter), func(t *testing.T) {
			t.Parallel()
			f := servertest.NewWithFile(t, cfg).Open()
			streams, want := map[string]string{}, map[string][]entry{}
			for i := range clients {
				rnd := rand.New(rand.NewPCG(1, uint64(i)))
				stream, entries := framed(rnd, most, kind.frame)
				remote := sendStream(f, rnd, stream)
				streams[remote], want[remote] = stream, entries
			}
			f.Finish()
			got := newLedger()
			got.read(t, "json", readRecords(t, f.Path))
			for remote := range streams {
				if kind.frame != nil {
					got.compare(t, remote, want[remote])
				}
			}
			if !maps.Equal(got.streams, streams) {
				t.Errorf("got %.200q, want %.200q", got.streams, streams)
			}
		})
	}
}

// framed returns a client's stream and its messages. Some are longer than most, and so in pieces.
func framed(rnd *rand.Rand, most int, frame func(string) (head, end string)) (stream string, want []entry) {
	for range 50 {
		var data, head, end string
		for range rnd.IntN(most * 5 / 2) {
			data += string(rune('a' + rnd.IntN(26)))
		}
		if rnd.IntN(3) == 0 || data == "" {
			data = "<13>" + data
		}
		if frame != nil {
			head, end = frame(data)
		}
		offset := len(stream)
		stream += head + data + end
		flag := ""
		if len(data) > most {
			flag = "cut"
		}
		for piece := range slices.Chunk([]byte(data), most) {
			want = append(want, entry{string(piece), flag, int64(offset)})
			offset += len(head) + len(piece)
			head = ""
		}
	}
	return stream, want
}

// TestWhatIsNoWholeMessageIsFlagged with why it is none, and the session is closed for that reason.
func TestWhatIsNoWholeMessageIsFlagged(t *testing.T) {
	const most = 4
	for _, c := range []struct {
		name, framing, stream string
		idle                  bool // the client falls silent instead of closing
		want                  []string
	}{
		{"half a line", "line", "a\nb", false, []string{": a", " [eof]: b", ": eof, 2 records, 3 bytes"}},
		{"half a line, idle", "line", "a\nb", true, []string{": a", " [timeout]: b", ": idle, 2 records, 3 bytes"}},
		{"no NUL", "nul", "a\x00b\n", false, []string{": a", ` [eof]: b\x0a`, ": eof, 2 records, 4 bytes"}},
		{"half a count", "octet-counted", "1 a12", false, []string{": a", " [eof]: 12", ": eof, 2 records, 5 bytes"}},
		{"half a count longer than a message", "octet-counted", "1 a100100", false, []string{": a", " [cut]: 1001", " [eof]: 00", ": eof, 3 records, 9 bytes"}},
		{"half a long line", "line", "abcd\r", false, []string{" [cut]: abcd", ` [eof]: \x0d`, ": eof, 2 records, 5 bytes"}},
		{"a count alone", "octet-counted", "1 a12 ", true, []string{": a", " [timeout]: ", ": idle, 2 records, 6 bytes"}},
		{"half of a long one", "octet-counted", "100 abcdefgh", false, []string{" [cut]: abcd", " [eof]: efgh", ": eof, 2 records, 12 bytes"}},
		{"half a length", "length-prefixed", "\x00\x00\x00\x01a\x00", false, []string{": a", ` [eof]: \x00`, ": eof, 2 records, 6 bytes"}},
		{"half of a prefixed one", "length-prefixed", "\x00\x00\x00\x03ab", true, []string{" [timeout]: ab", ": idle, 1 records, 6 bytes"}},
		{"a line, not ended", "octet-counted", "1 aGET", false, []string{": a", " [eof]: GET", ": eof, 2 records, 6 bytes"}},
		{"line ends behind messages", "octet-counted", "1 a\n1 b\r\n", false, []string{": a", ": b", ": eof, 2 records, 9 bytes"}},
		{"line ends behind messages, idle", "octet-counted", "1 a\n1 b\r\n", true, []string{": a", ": b", ": idle, 2 records, 9 bytes"}},
		{"nothing but a line end", "octet-counted", "\n", false, []string{": eof, 0 records, 1 bytes"}},
		{"no text", "octet-counted", "1 a\x16\x03GET\n", false, []string{": a", ` [malformed]: \x16\x03GE`, ` [malformed]: T\x0a`, ": malformed, 3 records, 9 bytes"}},
		{"half a delimiter", "delimited", "aENDbEN", false, []string{": a", " [eof]: bEN", ": eof, 2 records, 7 bytes"}},
		{"half of one, idle", "delimited", "aENDb", true, []string{": a", " [timeout]: b", ": idle, 2 records, 5 bytes"}},
		{"half of a fixed one", "fixed", "abcd", false, []string{": abc", " [eof]: d", ": eof, 2 records, 4 bytes"}},
		{"the end of the stream instead of silence", "silence", "abc", false, []string{": abc", ": eof, 1 records, 3 bytes"}},
		{"a length that is too small", "length-prefixed in all", "\x00\x00\x00\x05a\x00\x00\x00\x03b", false, []string{": a", ` [malformed]: \x00\x00\x00\x03`, " [malformed]: b", ": malformed, 3 records, 10 bytes"}},
		{"nothing but a fault", "octet-counted", "\x16", false, []string{` [malformed]: \x16`, ": malformed, 1 records, 1 bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := servertest.New(t, func(cfg *config.Config) {
				l := &cfg.Listeners[0]
				if l.MaxMessage = most; c.framing == "length-prefixed in all" {
					c.framing, l.LengthAdjust = "length-prefixed", -4
				}
				l.Framing, l.Delimiter, l.MessageSize, l.Silence = c.framing, []config.Bytes{config.Text("END")}, 3, time.Hour
				if c.idle {
					cfg.Listeners[0].IdleTimeout = 2 * time.Second
				}
			}).Open()
			conn := f.Greeted()
			conn.Say(c.stream)
			if !c.idle {
				// It fails where the server has closed already.
				_ = conn.CloseWrite()
			}
			conn.HearEnd()
			var got []string
			for line := range strings.Lines(f.AwaitRecords(" close from ")) {
				_, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), conn.Addr())
				got = append(got, text)
			}
			if want := append([]string{""}, c.want...); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestTheEndOfAStreamIsRecordedAsJSON, also if it is no message: then its bytes are recorded, and
// not counted or acknowledged.
func TestTheEndOfAStreamIsRecordedAsJSON(t *testing.T) {
	f := servertest.New(t, func(cfg *config.Config) {
		cfg.Record.Format = "json"
		cfg.Listeners[0].Framing, cfg.Listeners[0].Ack = "octet-counted", config.Text("{offset}\n")
	}).Open()
	conn := f.Greeted()
	conn.Say("4 <1>a\n4 <1>b\r\n")
	conn.Hear("0\n6\n")
	_ = conn.CloseWrite()
	if got := conn.HearEnd(); got != "" {
		t.Errorf("acknowledged: got %q, want no more", got)
	}
	f.AwaitRecords(`"offset":0,"head":"4 ","data":"<1>a"}`, `"offset":6,"head":"\u000a4 ","data":"<1>b"}`,
		`"offset":13,"head":"\u000d\u000a","data":"","flag":"between"}`, `"reason":"eof","records":2,"bytes":15}`)
}

func TestTheLogSaysWhereAClientLeftTheFraming(t *testing.T) {
	f := servertest.New(t, func(cfg *config.Config) { cfg.Listeners[0].Framing = "octet-counted" }).Open()
	conn := f.Greeted()
	conn.Say("3 abc\x16\x03\x01")
	conn.HearEnd()
	f.Log.Await(t, "reason=malformed", `err="no octet-counted message begins at byte 5"`)
}
