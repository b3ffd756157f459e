package framing

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tcpmux/internal/fuzzing"
)

// model cuts the whole stream at once, as the manual describes it, unlike the framers.
func model(s Spec, stream []byte, sizes []byte, why Flag) (out []cut) {
	if s.Kind == Delimited {
		return modelDelimited(s, string(stream), why)
	}
	for len(stream) > 0 {
		n, message := 0, []cut(nil)
		switch s.Kind {
		case Line:
			n, message = modelLine(s.Max, stream, why)
		case NUL:
			n, message = modelNUL(s.Max, stream, why)
		case Chunk:
			n, sizes = segment(stream, sizes)
			message = pieces(s.Max, nil, stream[:n], nil, Whole)
		case OctetCounted:
			n, message = modelOctets(s.Max, stream, why)
		case LengthPrefixed:
			n, message = modelPrefixed(s, stream, why)
		case Fixed:
			n, message = modelCounted(s.Max, nil, stream, int64(s.MessageSize), why)
		case Silence: // the end of the stream ends the message too
			n, message = len(stream), pieces(s.Max, nil, stream, nil, map[Flag]Flag{EOF: Whole, Timeout: Timeout}[why])
		}
		out, stream = append(out, message...), stream[n:]
	}
	return out
}

// pieces cuts a message into pieces of max bytes. flag is that of the whole message.
func pieces(max int, head, data, end []byte, flag Flag) (out []cut) {
	out = []cut{{head: string(head)}}
	for chunk := range slices.Chunk(data, max) {
		out[len(out)-1].data = string(chunk)
		out = append(out, cut{})
	}
	if len(data) > 0 {
		out = out[:len(out)-1]
	}
	last := len(out) - 1
	for i := range out {
		out[i].more = i < last
		if last > 0 {
			out[i].flag = Cut
		}
	}
	out[last].end = string(end)
	if flag != Whole {
		out[last].flag = flag
	}
	return out
}

func modelLine(max int, stream []byte, why Flag) (int, []cut) {
	line, _, ended := bytes.Cut(stream, []byte("\n"))
	if !ended {
		return len(stream), pieces(max, nil, stream, nil, why)
	}
	data := bytes.TrimSuffix(line, []byte("\r"))
	n := len(line) + 1
	return n, pieces(max, nil, data, stream[len(data):n], Whole)
}

func modelNUL(max int, stream []byte, why Flag) (int, []cut) {
	data, _, ended := bytes.Cut(stream, []byte{0})
	if !ended {
		return len(stream), pieces(max, nil, stream, nil, why)
	}
	return len(data) + 1, pieces(max, nil, data, []byte{0}, Whole)
}

var (
	gapForm   = regexp.MustCompile(`^[\n\r\x00 ]*`)
	countForm = regexp.MustCompile(`^[1-9][0-9]{0,8} `)
	countHalf = regexp.MustCompile(`^[1-9][0-9]{0,8}$`)
	control   = regexp.MustCompile(`^[\x00-\x08\x0a-\x1f\x7f]`)
)

func modelOctets(max int, stream []byte, why Flag) (int, []cut) {
	gap := gapForm.Find(stream)
	lines := bytes.TrimRight(gap, " ") // the part before a line
	if len(gap) >= maxBetween {
		gap = gap[:maxBetween]
		if lines = bytes.TrimRight(gap, " "); len(lines) > 0 {
			gap = lines
		}
		last := len(gap) - 1
		return len(gap), []cut{{head: string(gap[:last]), end: string(gap[last:])}}
	}
	rest := stream[len(gap):]
	count := countForm.Find(rest)
	switch {
	case len(rest) == 0:
		return len(stream), []cut{{head: string(gap), flag: Between}}
	case count != nil:
		n, _ := strconv.Atoi(string(count[:len(count)-1]))
		return modelCounted(max, stream[:len(gap)+len(count)], stream, int64(n), why)
	case countHalf.Match(rest):
		return len(stream), pieces(max, lines, stream[len(lines):], nil, why)
	case control.Match(rest):
		return len(stream), []cut{{head: string(gap), data: string(rest), flag: Malformed}}
	case rest[0] == '<':
		lines = gap
	}
	return modelOctetLine(max, lines, stream, why)
}

// modelOctetLine is a line after its head.
func modelOctetLine(max int, head, stream []byte, why Flag) (int, []cut) {
	data := stream[len(head):]
	end := bytes.IndexAny(data, "\n\x00")
	if end < 0 {
		return len(stream), pieces(max, head, data, nil, why)
	}
	text := data[:end]
	if data[end] == '\n' {
		text = bytes.TrimSuffix(text, []byte("\r"))
	}
	return len(head) + end + 1, pieces(max, head, text, data[len(text):end+1], Whole)
}

func modelPrefixed(s Spec, stream []byte, why Flag) (int, []cut) {
	if len(stream) < s.LengthOffset+s.LengthSize {
		return len(stream), pieces(s.Max, nil, stream, nil, why)
	}
	head := stream[:s.LengthOffset+s.LengthSize]
	field := head[s.LengthOffset:]
	var eight [8]byte
	for i, b := range field {
		if s.LittleEndian {
			eight[7-i] = b
		} else {
			eight[8-len(field)+i] = b
		}
	}
	n := int64(binary.BigEndian.Uint64(eight[:])) + int64(s.LengthAdjust)
	if n < 0 {
		return len(stream), []cut{{data: string(stream), flag: Malformed}}
	}
	return modelCounted(s.Max, head, stream, n, why)
}

// modelDelimited goes through the stream byte by byte.
func modelDelimited(s Spec, stream string, why Flag) (out []cut) {
	last := "" // the delimiter that has ended the message before
	for stream != "" {
		head, begun := modelHead(s, stream, last)
		if !begun {
			return append(out, cut{head: stream, flag: Between})
		}
		if len(head) == maxNoise && s.Delimiters.Start() != "" && !strings.HasSuffix(head, s.Delimiters.Start()) {
			out, stream = append(out, cut{head: head, flag: Between}), stream[maxNoise:]
			continue
		}
		data := stream[len(head):]
		n := 0
		for last = ""; n < len(data) && last == ""; n++ {
			last = modelEnd(s, data[:n+1])
		}
		flag := Whole
		if last == "" {
			flag = why
		}
		out = append(out, pieces(s.Max, []byte(head), []byte(strings.TrimSuffix(data[:n], last)), []byte(last), flag)...)
		stream = data[n:]
	}
	return out
}

// modelEnd returns the longest delimiter that text ends with.
func modelEnd(s Spec, text string) (end string) {
	for _, d := range s.Delimiters.All() {
		if strings.HasSuffix(text, d) && len(d) > len(end) {
			end = d
		}
	}
	return end
}

// modelHead returns what precedes a message, and whether there is one.
func modelHead(s Spec, stream, last string) (head string, begun bool) {
	if start := s.Delimiters.Start(); start != "" {
		noise, _, found := strings.Cut(stream, start)
		if found && len(noise) < maxNoise {
			return noise + start, true
		}
		for half := len(start) - 1; half > 0 && !found; half-- { // these may become a start
			if strings.HasSuffix(noise, start[:half]) {
				noise = noise[:len(noise)-half]
				break
			}
		}
		if len(noise) >= maxNoise {
			return noise[:maxNoise], true
		}
		return stream, false
	}
	for n := 1; n <= len(stream) && last != ""; n++ {
		rest := stream[len(head):n]
		if slices.Contains(s.Delimiters.All(), last+rest) {
			last, head = last+rest, stream[:n]
		} else if modelEnd(s, rest) != "" {
			break
		}
	}
	return head, len(head) < len(stream)
}

// modelCounted is a message of n bytes after its head.
func modelCounted(max int, head, stream []byte, n int64, why Flag) (int, []cut) {
	data := stream[len(head):]
	if n > int64(len(data)) {
		return len(stream), pieces(max, head, data, nil, why)
	}
	return len(head) + int(n), pieces(max, head, data[:n], nil, Whole)
}

// check checks that the stream in these segments gives the messages of the model, and that no byte
// is lost.
func check(t rapid.TB, s Spec, stream, sizes []byte, why Flag) {
	t.Helper()
	want := model(s, stream, sizes, why)
	if got := joined(frame(t, s, stream, sizes, why)); !slices.Equal(got, want) {
		t.Errorf("%+v, segments %v of %q, %s: got %v, want %v", s, sizes, stream, why, got, want)
	}
}

// TestRandomSegmentsOfEveryFraming: whole messages, long messages, truncated messages and noise
// give the messages of the model.
func TestRandomSegmentsOfEveryFraming(t *testing.T) {
	seen := map[Flag]int{Whole: 0, EOF: 0, Cut: 0, Timeout: 0, Malformed: 0, Between: 0}
	for _, s := range specs {
		t.Run(s.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				spec := s.spec
				spec.Max = rapid.IntRange(1, 20).Draw(t, "max")
				var stream []byte
				for range rapid.IntRange(0, 6).Draw(t, "messages") {
					data := rapid.SliceOfN(rapid.SampledFrom([]byte("a1 <\n\r\x00\x02\xff")), 0, 3*spec.Max).Draw(t, "data")
					stream = append(stream, s.wrap(data)...)
				}
				if rapid.Bool().Draw(t, "broken off") {
					stream = stream[:rapid.IntRange(0, len(stream)).Draw(t, "at")]
				}
				sizes := rapid.SliceOf(rapid.Map(rapid.IntRange(0, 30), func(n int) byte { return byte(n) })).Draw(t, "sizes")
				why := rapid.SampledFrom([]Flag{EOF, Timeout}).Draw(t, "why")
				check(t, spec, stream, sizes, why)
				for _, m := range model(spec, stream, sizes, why) {
					seen[m.flag]++
				}
			})
		})
	}
	for f, n := range seen {
		if n == 0 {
			t.Errorf("no message came with the flag %q: the test does not see what it is for", f)
		}
	}
}

// octetTokens are parts of octet-counted streams: frames, bytes between frames, lines, and
// malformed variants of these.
var octetTokens = []string{
	"1 a", "4 <1>b", "2 \n\n", "3 \x00 1", "9 <1>a\nlong", "\n", "\r\n", "\x00", " ", "        ", "\r", "<1>c\n", "<1>d\r\n", "<1>e\x00", "f\n", "\tg\n", "  h\n",
	"12 monkeys\n", "0 ", "01 ", "1\t", "123456789", "12", "<", "\xc3\xa9", "a", "\x02",
}

// TestRandomOctetCountedStreams: random streams give the messages of the model, in any segments,
// and with pieces cut off at any time.
func TestRandomOctetCountedStreams(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tokens := octetTokens
		if rapid.Bool().Draw(t, "all of it text") {
			tokens = tokens[:len(tokens)-1]
		}
		stream := []byte(strings.Join(rapid.SliceOfN(rapid.SampledFrom(tokens), 0, 20).Draw(t, "tokens"), ""))
		sizes := rapid.SliceOf(rapid.Map(rapid.IntRange(0, 10), func(n int) byte { return byte(n) })).Draw(t, "sizes")
		spec := Spec{Kind: OctetCounted, Max: rapid.IntRange(1, 30).Draw(t, "max")}
		check(t, spec, stream, sizes, rapid.SampledFrom([]Flag{EOF, Timeout}).Draw(t, "why"))
		got := whole(joined(frameInPieces(t, spec, stream, sizes, func() bool { return rapid.Bool().Draw(t, "piece") })))
		if want := whole(model(spec, stream, sizes, EOF)); !slices.Equal(got, want) {
			t.Errorf("%+v, segments %v of %q: got %v, want %v", spec, sizes, stream, got, want)
		}
	})
}

// The fuzz targets check the same for any stream.

func fuzz(tf *testing.F, kind Kind, seeds ...string) {
	fuzzSpec(tf, func(choice byte) Spec {
		return Spec{
			Kind: kind, LengthSize: []int{1, 2, 4, 3}[choice%4], LittleEndian: choice&4 != 0,
			LengthOffset: []int{0, 3}[choice>>4&1], LengthAdjust: []int{0, 2, -1, -4}[choice>>5&3], MessageSize: 1 + int(choice),
		}
	}, seeds...)
}

// fuzzSpec compares any stream with the model. A byte chooses the Spec, and with bit 3 why the
// stream ends.
func fuzzSpec(tf *testing.F, spec func(choice byte) Spec, seeds ...string) {
	f := fuzzing.Fixed(tf)
	for i, seed := range seeds {
		for _, limit := range []byte{0, 3, 200} {
			f.Add([]byte(seed), []byte{0, 3, 1}[:i%4], limit, byte(i))
		}
	}
	f.Fuzz(func(t *testing.T, stream, sizes []byte, limit, choice byte) {
		s := spec(choice)
		s.Max = int(limit) + 1
		check(t, s, stream, sizes, []Flag{EOF, Timeout}[choice>>3&1])
	})
}

func FuzzLine(f *testing.F) {
	fuzz(f, Line, "hello\r\nworld\n", "abcd\r", "abcd\r\r\n\r\n", "\x00\xff\n\n")
}

func FuzzNUL(f *testing.F) { fuzz(f, NUL, "hello\x00wor\nld\x00\x00", "abcd\r\x00", "abcde") }

func FuzzChunk(f *testing.F) { fuzz(f, Chunk, "hello\r\nworld\n", "a") }

func FuzzOctetCounted(f *testing.F) {
	fuzz(f, OctetCounted, "5 hello11 hello\nworld", "<13>hello\r\n2 hi<", "5 hel", "123456789 x", "1234567890", "05 hello", "GET / HTTP/1.1\r\n\r\n", "1 x\n",
		"8 <1>hello\n8 <1>hello\r\n8 <1>hello\x00 8 <1>hello\n", "<1>a\n  at b\n\ttab\n12 monkeys\n<1>c\x00", "\n\n"+strings.Repeat(" ", 40)+"x", "1 x\x16\x03\x01")
}

func FuzzLengthPrefixed(f *testing.F) {
	fuzz(f, LengthPrefixed, "\x05hello\x00\x01x", "\x00\x05hello\x00\x00", "\x00\x00\x00\x05hello\xff\xff\xff\xff", "\x02\x00\x00\x00hi", "\x00\x00")
}

// fuzzDelimiters are those that FuzzDelimited chooses from.
var fuzzDelimiters = []Spec{
	delimitedBy("", "\r\n", "\n", "\r"), delimitedBy("", "\r\n", "\n"), delimitedBy("", "aaa1", "aa", "1 a1 <", "\xff\xff\xff"),
	delimitedBy("\x02", "\x03"), delimitedBy("\x0b", "\x1c\r"), delimitedBy("aab", "ba", "b"), delimitedBy("", "1", "12", "1234", "2345"), delimitedBy("", "\r"),
}

func FuzzDelimited(f *testing.F) {
	fuzzSpec(f, func(choice byte) Spec { return fuzzDelimiters[choice%8] },
		"a\r\nb\nc\rd\r\n\n\r", "a\r\r\n\r", "aaaa1aaa1 a1 <\xff\xff\xff\xff", "x\x02a\x02b\x03\r\n\x02c", "\x0bMSH|^~\\&\rPID\r\x1c\r\x1c\x0b\x1c\r",
		"aaaabxbabaab", "123412345a2345", "abcdefgh\r", strings.Repeat("a.", 60)+"aabxb")
}

func FuzzFixed(f *testing.F) { fuzz(f, Fixed, "abcdefgh", "a") }

func FuzzSilence(f *testing.F) { fuzz(f, Silence, "abcdefgh", "a") }
