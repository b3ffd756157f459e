package worker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tcpmux/daemon/framing"
	"tcpmux/daemon/record"
	"tcpmux/daemon/session"
	"tcpmux/internal/fuzzing"
)

// TestAFrameOfAnImpossibleSize holds that a session process cannot have the daemon make room for
// what it will never send, and that neither end takes a frame that only the other may.
func TestAFrameOfAnImpossibleSize(t *testing.T) {
	daemon := &limits{frameMessages: 100}
	for _, c := range []struct {
		name   string
		accept *limits
		head   string
	}{
		{"nothing", daemon, "\x04\x00\x00\x00\x00"},
		{"one too many", daemon, "\x04\x00\x00\x00\x65"},
		{"negative in 32 bits", daemon, "\x04\x80\x00\x00\x00"},
		{"the most", daemon, "\x04\xff\xff\xff\xff"},
		{"no kind", daemon, "\x00\x00\x00\x00\x01"},
		{"an unknown kind", daemon, "\x08\x00\x00\x00\x01"},
		{"the last kind", daemon, "\xff\x00\x00\x00\x01"},
		{"a control to the daemon", daemon, "\x02\x00\x00\x00\x01"},
		{"a large control", &toProcess, "\x02\x00\x00\x00\x65"},
		{"messages to a process", &toProcess, "\x04\x00\x00\x00\x01"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.accept.readHeader(bytes.NewBufferString(c.head), make([]byte, frameHeaderSize))
			if !errors.Is(err, errProtocol) {
				t.Errorf("got %+v, %v, want %v", got, err, errProtocol)
			}
		})
	}
}

// TestHeadersAreFixedStructs: those that are written by hand are what encoding/binary makes of
// them.
func TestHeadersAreFixedStructs(t *testing.T) {
	frame := frameHeader{frameCheckpoint, 0x01020304}
	if got, want := frame.append(nil), fixed(t, frame); !bytes.Equal(got, want) {
		t.Errorf("frame header: got %x, want %x", got, want)
	}
	if got := parseFrameHeader(frame.append(nil)); got != frame {
		t.Errorf("frame header: got %+v, want %+v", got, frame)
	}
	m := record.Message{Raw: []byte("5 hello\n"), HeadLen: 2, EndLen: 1, Flag: "eof"}
	want := append(fixed(t, messageHeader{Flag: 1, HeadSize: 2, EndSize: 1, Size: 8}), m.Raw...)
	if got := appendMessage(nil, &m); !bytes.Equal(got, want) {
		t.Errorf("message: got %x, want %x", got, want)
	}
	want = append(fixed(t, frameHeader{frameAnswer, 1}), fixed(t, kept)...)
	if got := kept.append(nil); !bytes.Equal(got, want) {
		t.Errorf("answer: got %x, want %x", got, want)
	}
}

func fixed(t *testing.T, v any) []byte {
	t.Helper()
	b, err := binary.Append(nil, binary.BigEndian, v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFlagsHaveANumber: every flag that a framing may give a message passes to the daemon.
func TestFlagsHaveANumber(t *testing.T) {
	for f := framing.Whole; f <= framing.Between; f++ {
		m := record.Message{Raw: []byte("x"), Flag: f.String()}
		var got record.Message
		if rest, err := parseMessage(appendMessage(nil, &m), &got); err != nil || len(rest) > 0 || got.Flag != m.Flag {
			t.Errorf("flag %q: got %q, %v", m.Flag, got.Flag, err)
		}
	}
}

// body checks the header of a frame and returns its body.
func body(t interface{ Fatalf(string, ...any) }, accept *limits, kind frameKind, frame []byte) []byte {
	in := bytes.NewReader(frame)
	h, err := accept.readHeader(in, make([]byte, frameHeaderSize))
	if err != nil || h.Kind != kind || int(h.Size) != in.Len() {
		t.Fatalf("frame header: got %+v, %v, want kind %d and size %d", h, err, kind, in.Len())
	}
	b, _ := io.ReadAll(in)
	return b
}

func TestMessagesPass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Custom(drawMessage), 1, 5).Draw(t, "messages")
		var frame []byte
		for i := range all {
			frame = encoder{new(lastMessage)}.Message(frame, &all[i])
		}
		for _, want := range all {
			var got record.Message
			var err error
			if frame, err = parseMessage(frame, &got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Raw, want.Raw) || got.HeadLen != want.HeadLen || got.EndLen != want.EndLen ||
				got.Flag != want.Flag {
				t.Fatalf("got %+v, want %+v", got, want)
			}
		}
		if len(frame) > 0 {
			t.Fatalf("%d bytes are left", len(frame))
		}
	})
}

func drawMessage(t *rapid.T) record.Message {
	m := record.Message{
		Raw:  rapid.SliceOfN(rapid.Byte(), 1, -1).Draw(t, "raw"),
		Flag: rapid.SampledFrom(flags[:]).Draw(t, "flag"),
	}
	m.HeadLen = rapid.IntRange(0, min(len(m.Raw), 255)).Draw(t, "head")
	m.EndLen = rapid.IntRange(0, min(len(m.Raw)-m.HeadLen, 2)).Draw(t, "end")
	return m
}

// drawn is a T with numbers that are not negative and no slices.
func drawn[T any](t *rapid.T, name string) (v T) {
	fill(t, name, reflect.ValueOf(&v).Elem())
	return v
}

func fill(t *rapid.T, name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, name))
	case reflect.Uint8, reflect.Uint32:
		v.SetUint(rapid.Uint64Range(0, min(uint64(1)<<v.Type().Bits()-1, math.MaxInt32)).Draw(t, name))
	default:
		v.SetInt(rapid.Int64Range(0, math.MaxInt64>>(64-v.Type().Bits())).Draw(t, name))
	}
}

func drawText(t *rapid.T, name string) string {
	return string(rapid.SliceOf(rapid.Byte()).Draw(t, name))
}

func TestSetupsPass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &setup{
			setupHeader: setupHeader{
				Control:       drawn[control](t, "control"),
				Framing:       drawSpec(t),
				Age:           drawn[time.Duration](t, "age"),
				BannerTimeout: drawn[time.Duration](t, "banner timeout"),
				AckTimeout:    drawn[time.Duration](t, "ack timeout"),
				AckHex:        drawn[bool](t, "hex"),
				Checkpoints:   drawn[bool](t, "checkpoints"),
				Resume:        drawn[resume](t, "resume"),
			},
			banner: drawText(t, "banner"),
			ack:    drawText(t, "ack"),
			moved:  []byte(drawText(t, "moved")),
		}
		want.Control.Phase = rapid.SampledFrom(phases).Draw(t, "phase")
		got, err := parseSetup(body(t, &toProcess, frameSetup, want.append(nil)))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		if s := got.Framing.framing(); specOf(s) != want.Framing {
			t.Fatalf("framing: got %+v, want %+v", s, want.Framing)
		}
	})
}

// drawSpec draws a spec that is valid.
func drawSpec(t *rapid.T) spec {
	s := spec{
		Kind: framing.Kind(rapid.IntRange(0, int(framing.Silence)).Draw(t, "kind")),
		Max:  rapid.Uint32Range(1, 16<<20).Draw(t, "max"),
	}
	sequences := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-c]{1,16}`), 1, framing.MaxDelimiters, rapid.ID[string])
	switch s.Kind {
	case framing.LengthPrefixed:
		s.LengthSize = rapid.Uint8Range(1, 4).Draw(t, "length size")
		s.LittleEndian = rapid.Bool().Draw(t, "little")
		s.LengthOffset = rapid.Uint8Range(0, framing.MaxLengthOffset).Draw(t, "length offset")
		s.LengthAdjust = rapid.Int32().Draw(t, "length adjust")
	case framing.Delimited:
		s.Start = sequenceOf(rapid.StringMatching(`[a-c]{0,16}`).Draw(t, "start"))
		for i, one := range sequences.Draw(t, "delimiters") {
			s.Delimiters[i] = sequenceOf(one)
		}
	case framing.Fixed:
		s.MessageSize = rapid.Uint32Range(1, 16<<20).Draw(t, "message size")
	case framing.Silence:
		s.Silence = time.Duration(rapid.Int64Range(1, math.MaxInt64).Draw(t, "silence"))
	}
	return s
}

var phases = []session.Phase{session.Serving, session.Draining, session.Leaving, session.Over}

func TestControlsPass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawn[control](t, "control")
		want.Phase = rapid.SampledFrom(phases).Draw(t, "phase")
		got, err := parseControl(body(t, &toProcess, frameControl, appendFrame(nil, frameControl, &want)))
		if err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestCheckpointsPass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := checkpoint{drawn[checkpointHeader](t, "checkpoint"), []byte(drawText(t, "more"))}
		got, err := parseCheckpoint(body(t, toDaemon(1), frameCheckpoint, want.append(nil)))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestTakesPass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := take{rapid.Uint32Max(math.MaxInt32).Draw(t, "size")}
		got, err := parseTake(body(t, toDaemon(1), frameTake, want.append(nil)))
		if err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestEndsPass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := end{
			endHeader: endHeader{Progress: drawn[progress](t, "progress")},
			reason:    rapid.SampledFrom([]session.Reason{session.ByIdle, session.ByLeave}).Draw(t, "reason"),
			text:      drawText(t, "text"),
		}
		got, err := parseEnd(body(t, toDaemon(1), frameEnd, want.append(nil)))
		if err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestAnswersPass(t *testing.T) {
	for _, want := range []answer{written, kept, notKept} {
		if got, err := parseAnswer(body(t, &toProcess, frameAnswer, want.append(nil))); got != want || err != nil {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
}

// TestALongErrorPasses, as far as there is room for it.
func TestALongErrorPasses(t *testing.T) {
	e := end{reason: session.ByError, text: string(make([]byte, 2*maxEndText))}
	if got, err := parseEnd(body(t, toDaemon(1), frameEnd, e.append(nil))); err != nil || len(got.text) != maxEndText {
		t.Errorf("got %d bytes, %v, want %d", len(got.text), err, maxEndText)
	}
}

// TestEveryReasonOfARecorderPasses from a session process to the daemon: those that do not are the
// daemon's alone.
func TestEveryReasonOfARecorderPasses(t *testing.T) {
	source, err := os.ReadFile("../session/reason.go")
	if err != nil {
		t.Fatal(err)
	}
	var alone []session.Reason
	for _, m := range regexp.MustCompile(`(?m)^\t[bB]y\w+ +Reason += "(\w*)"`).FindAllStringSubmatch(string(source), -1) {
		want := end{reason: session.Reason(m[1])}
		if !want.reason.OfRecorder() {
			alone = append(alone, want.reason)
		} else if got, err := parseEnd(body(t, toDaemon(1), frameEnd, want.append(nil))); got != want || err != nil {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	want := []session.Reason{
		session.ByDone, session.ByKill, session.ByProcess, session.BySuspect, session.ByProxy, session.ByPlainText, session.ByHandshake,
		session.ByCertificate, session.ByCrash, "mux", "help", "refusal", "moved", session.ByExec, session.ByTimeout,
	}
	if !slices.Equal(alone, want) {
		t.Errorf("got %q for the daemon alone, want %q: a reason that a recorder returns stands in OfRecorder", alone, want)
	}
}

// TestNumbersAreChecked: what the protocol does not allow is refused whatever else the frame says.
func TestNumbersAreChecked(t *testing.T) {
	good := func() *setup {
		return &setup{setupHeader: setupHeader{Framing: spec{Max: 1}}, banner: "hello"}
	}
	parseSetupOf := func(change func(*setup)) error {
		s := good()
		change(s)
		_, err := parseSetup(s.append(nil)[frameHeaderSize:])
		return err
	}
	two := [framing.MaxDelimiters]sequence{sequenceOf("a"), sequenceOf("a")}
	if err := parseSetupOf(func(*setup) {}); err != nil {
		t.Fatalf("a good setup: got %v", err)
	}
	for name, err := range map[string]error{
		"phase":              parseSetupOf(func(s *setup) { s.Control.Phase = session.Over + 1 }),
		"negative phase":     parseSetupOf(func(s *setup) { s.Control.Phase = -1 }),
		"bounds":             parseSetupOf(func(s *setup) { s.Control.Bounds.Idle = -1 }),
		"kind of framing":    parseSetupOf(func(s *setup) { s.Framing.Kind = framing.Silence + 1 }),
		"no longest message": parseSetupOf(func(s *setup) { s.Framing.Max = 0 }),
		"length of a length": parseSetupOf(func(s *setup) { s.Framing.Kind, s.Framing.LengthSize = framing.LengthPrefixed, 5 }),
		"no length":          parseSetupOf(func(s *setup) { s.Framing.Kind = framing.LengthPrefixed }),
		"length offset": parseSetupOf(func(s *setup) {
			s.Framing = spec{Kind: framing.LengthPrefixed, Max: 1, LengthSize: 1, LengthOffset: framing.MaxLengthOffset + 1}
		}),
		"no delimiter":         parseSetupOf(func(s *setup) { s.Framing.Kind = framing.Delimited }),
		"a delimiter twice":    parseSetupOf(func(s *setup) { s.Framing.Kind, s.Framing.Delimiters = framing.Delimited, two }),
		"no message size":      parseSetupOf(func(s *setup) { s.Framing.Kind = framing.Fixed }),
		"no silence":           parseSetupOf(func(s *setup) { s.Framing.Kind = framing.Silence }),
		"banner timeout":       parseSetupOf(func(s *setup) { s.BannerTimeout = -1 }),
		"ack timeout":          parseSetupOf(func(s *setup) { s.AckTimeout = -time.Hour }),
		"offset":               parseSetupOf(func(s *setup) { s.Resume.Progress.Offset = -1 }),
		"pieces":               parseSetupOf(func(s *setup) { s.Resume.Progress.Pieces = -1 }),
		"unread":               parseSetupOf(func(s *setup) { s.Resume.Unread = math.MaxUint32 }),
		"a setup that is long": second(parseSetup(append(good().append(nil)[frameHeaderSize:], 'x'))),
		"no setup":             second(parseSetup(nil)),
		"control":              second(parseControl(fixed(t, control{Phase: 4}))),
		"a long control":       second(parseControl(append(fixed(t, control{}), 0))),
		"no answer":            second(parseAnswer([]byte{0})),
		"an unknown answer":    second(parseAnswer([]byte{4})),
		"two answers":          second(parseAnswer([]byte{1, 1})),
		"no checkpoint":        second(parseCheckpoint([]byte("x"))),
		"checkpoint":           second(parseCheckpoint(fixed(t, checkpointHeader{Progress: progress{Offset: -1}}))),
		"kept already":         second(parseCheckpoint(fixed(t, checkpointHeader{Have: math.MaxUint32}))),
		"no take":              second(parseTake(nil)),
		"too much to take":     second(parseTake(fixed(t, take{math.MaxUint32}))),
		"no end":               second(parseEnd(nil)),
		"a forged reason":      second(parseEnd((&end{reason: "forged\n2026"}).append(nil)[frameHeaderSize:])),
		"reason":               second(parseEnd(fixed(t, endHeader{ReasonSize: 1}))),
		"end":                  second(parseEnd((&end{endHeader: endHeader{Progress: progress{Offset: -1}}, reason: "eof"}).append(nil)[frameHeaderSize:])),
	} {
		if !errors.Is(err, errProtocol) {
			t.Errorf("%s: got %v, want %v", name, err, errProtocol)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// FuzzToProcess holds that a session process reads any bytes from the channel without a panic, and
// that what it has understood is what it would write.
func FuzzToProcess(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	s := &setup{
		setupHeader: setupHeader{Framing: spec{Kind: framing.LengthPrefixed, LengthSize: 2, Max: 64 << 10}},
		banner:      "hello\r\n", ack: "{offset}\n", moved: []byte("half"),
	}
	f.Add(s.append(nil))
	f.Add(kept.append(appendFrame(written.append(nil), frameControl, &control{Phase: session.Draining})))
	f.Add(kept.append((&setup{setupHeader: setupHeader{Framing: spec{Max: 1}}}).append(nil)))
	for _, of := range []spec{
		{Kind: framing.Delimited, Max: 9, Start: sequenceOf("\x02"), Delimiters: [framing.MaxDelimiters]sequence{sequenceOf("\r\n"), sequenceOf("\r")}},
		{Kind: framing.LengthPrefixed, Max: 9, LengthSize: 3, LengthOffset: 2, LengthAdjust: -5},
		{Kind: framing.Fixed, Max: 9, MessageSize: 32}, {Kind: framing.Silence, Max: 9, Silence: time.Second},
	} {
		f.Add((&setup{setupHeader: setupHeader{Framing: of, Resume: resume{Progress: progress{Framing: 2<<8 | 1<<1 | 1}}}}).append(nil))
	}
	f.Add(frameHeader{frameSetup, maxSetup}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		k := newChildServer(&channel{})
		for {
			h, err := toProcess.readHeader(in, make([]byte, frameHeaderSize))
			if err != nil || int64(h.Size) > int64(in.Len()) {
				return
			}
			body := make([]byte, h.Size)
			_, _ = io.ReadFull(in, body) // it is there
			if h.Kind != frameSetup {
				// Nothing is to be answered, and there is no client.
				_ = k.handle(h.Kind, body)
				continue
			}
			s, err := parseSetup(body)
			if err != nil {
				continue
			}
			if again, err := parseSetup(s.append(nil)[frameHeaderSize:]); err != nil || !reflect.DeepEqual(again, s) {
				t.Fatalf("got %+v, %v, want %+v", again, err, s)
			}
			s.Framing.framing().New().Recall(s.Resume.Progress.Framing)
		}
	})
}
