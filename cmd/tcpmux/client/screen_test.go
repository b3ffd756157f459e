package client

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

// rig is a screen with somebody at its keys.
type rig struct {
	*screen
	vt    *vt
	keys  *io.PipeWriter
	typed *lines
	ended chan error
}

func newRig(width int) *rig {
	in, keys := io.Pipe()
	r := &rig{vt: &vt{width: width}, keys: keys, typed: newLines(), ended: make(chan error, 1)}
	r.screen = newScreen(in, r.vt, width, 24)
	go func() { r.ended <- r.read(r.typed) }()
	synctest.Wait()
	return r
}

// do plays a script, a step a word: "key:…" is typed, "say:…" comes from the server, "end:…" closes
// the screen with a note.
func (r *rig) do(t *testing.T, steps []string) {
	for _, step := range steps {
		kind, text, _ := strings.Cut(step, ":")
		var err error
		switch kind {
		case "key":
			_, err = io.WriteString(r.keys, text)
		case "say":
			_, err = r.Write([]byte(text))
		case "end":
			r.close(text)
		}
		if err != nil {
			t.Fatalf("%q: %v", step, err)
		}
		synctest.Wait()
	}
}

func TestScreen(t *testing.T) {
	const up, left, bye = "\x1b[A", "\x1b[D", "end:closed\n"
	for _, c := range []struct {
		name  string
		steps []string
		seen  string
		typed string
	}{
		{"nothing yet", nil, "> |", ""},
		{"a greeting", []string{"say:Welcome connect!\r\n"}, "Welcome connect!\n> |", ""},
		{"a greeting without a newline", []string{"say:Welcome connect!"}, "Welcome connect!|", ""},
		{"an answer after it", []string{"say:Welcome!", "key:hello\r"}, "Welcome!hello\n> |", "hello\n"},
		{"a question in two pieces", []string{"say:na", "say:me: ", "key:bob"}, "name: bob|", ""},
		{"a piece below an unfinished line", []string{"say:one", "say: two\nthree"}, "one two\nthree|", ""},
		{"talk while typing", []string{"key:hel", "say:tick\n", "key:lo", "say:tock\n"}, "tick\ntock\n> hello|", ""},
		{"talk while editing", []string{"key:held" + left, "say:tick\r\n", "key:lo "}, "tick\n> hello |d", ""},
		{"talk while typing what wraps", []string{"key:12345678901234567890123", "say:tick\n", "key:4"}, "tick\n> 123456789012345678\n901234|", ""},
		{"talk while typing wide", []string{"key:你好", "say:tick\n", "key:吗\r"}, "tick\n> 你好吗\n> |", "你好吗\n"},
		{"a line that fills the row", []string{"say:12345678901234567890"}, "12345678901234567890\n> |", ""},
		{"more than a row and no newline", []string{"say:123456789012345678901234567890123456789012345", "key:x"}, "12345678901234567890\n12345678901234567890\n12345x|", ""},
		{"tabs", []string{"say:a\tb\nc\td", "key:e"}, "a       b\nc       de|", ""},
		{"hostile", []string{"key:typed", "say:\x1b[2J\x1b[H\x07", "say:\u202e\r\n"}, `\x1b[2J\x1b[H\x07\u2` + "\n" + `02e` + "\n> typed|", ""},
		{"forged newline characters", []string{"say:a\rb\vc\u2028d"}, `a\x0db\x0bc\u2028d|`, ""},
		{"rune in pieces", []string{"say:\xe4", "say:\xbd", "say:\xa0!\n"}, "你!\n> |", ""},
		{"history", []string{"key:one\r", "key:two\r", "key:" + up + up + "\r"}, "> one\n> two\n> one\n> |", "one\ntwo\none\n"},
		{"several lines pasted", []string{"key:a\rb\rc"}, "> a\n> b\n> c|", "a\nb\n"},
		{"a typed tab", []string{"key:a\tb", "say:tick\n", "key:" + left + left + "\x7fc\r"}, "tick\n> c b\n> |", "c\tb\n"},
		{"a typed tab is sent as one", []string{"key:\tab" + left + left + left + "x\r", "key:" + up}, "> x ab\n> x ab|", "x\tab\n"},
		{"tabs pasted", []string{"key:a\t\tb\rc"}, "> a  b\n> c|", "a\t\tb\n"},
		{"closing", []string{"say:bye\n", bye}, "bye\nclosed\n|", ""},
		{"closing over a half typed line", []string{"key:half", bye}, "closed\nhalf\n|", ""},
		{"closing after an unfinished line", []string{"say:bye", bye}, "bye\nclosed\n|", ""},
		{"closing over a half rune", []string{"say:bye\xe4", bye}, `bye\xe4` + "\nclosed\n|", ""},
		{"closing without a word", []string{"key:half", "end:"}, "half\n|", ""},
		{"closing a clear row without a word", []string{"end:"}, "|", ""},
		{"talk after Ctrl-D", []string{"key:x\r", "key:\x04", "say:rest", "say: of it\n"}, "> x\nrest of it\n|", "x\n"},
		{"closing after Ctrl-D", []string{"say:part", "key:\x04", "say:ly", bye}, "partly\nclosed\n|", ""},
		{"Ctrl-D is no end amid a line", []string{"key:ab" + left + "\x04", "key:c\r"}, "> ac\n> |", "ac\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(20)
				r.do(t, c.steps)
				if got := r.vt.text(); got != c.seen {
					t.Errorf("seen: got\n%s\nwant\n%s", got, c.seen)
				}
				if got := string(r.typed.text); got != c.typed {
					t.Errorf("typed: got %q, want %q", got, c.typed)
				}
				_ = r.keys.Close()
				<-r.ended
			})
		})
	}
}

func TestScreenKeys(t *testing.T) {
	gone := errors.New("input/output error")
	for _, c := range []struct {
		name  string
		keys  string
		err   error // of the terminal, after the keys
		typed string
		ended bool
		want  error
	}{
		{"Ctrl-C", "half\x03", nil, "", false, ErrInterrupt},
		{"Ctrl-C behind a line", "whole\r\x03more\r", nil, "whole\n", false, ErrInterrupt},
		{"Ctrl-C after Ctrl-D", "\x04more\r\x03", nil, "", true, ErrInterrupt},
		{"hung up", "whole\rhalf", io.EOF, "whole\n", true, errHungUp},
		{"broken", "whole\r", gone, "whole\n", false, gone},
		{"a key sequence without an end", "\x1b[" + strings.Repeat("1", 300), nil, "", false, io.ErrShortBuffer},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := io.Reader(strings.NewReader(c.keys))
			if c.err != nil {
				in = io.MultiReader(in, failing{c.err})
			}
			typed := newLines()
			if err := newScreen(in, io.Discard, 80, 24).read(typed); err != c.want {
				t.Errorf("error: got %v, want %v", err, c.want)
			}
			if got := string(typed.text); got != c.typed || typed.ended != c.ended {
				t.Errorf("typed: got %q, ended %t, want %q, ended %t", got, typed.ended, c.typed, c.ended)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestScreenFollowsSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(20)
		r.resize(0, 0)
		if r.width != 80 {
			t.Errorf("width of a terminal without a size: got %d, want 80", r.width)
		}
		r.vt.width = 10
		r.resize(10, 24)
		r.do(t, []string{"say:123456789012345"})
		if got, want := r.vt.text(), "1234567890\n12345|"; got != want {
			t.Errorf("seen: got\n%s\nwant\n%s", got, want)
		}
		_ = r.keys.Close()
		<-r.ended
	})
}

func TestPanicRestoresTerminal(t *testing.T) {
	restored := false
	defer func() {
		if p := recover(); p != "boom" || !restored {
			t.Errorf("got panic %v, restored %t, want boom, true", p, restored)
		}
	}()
	defer restoring(func() { restored = true })()
	panic("boom")
}

func TestFold(t *testing.T) {
	for _, c := range []struct{ line, rows, rest string }{
		{"", "", ""}, {"ab", "", "ab"}, {"abc", "abc\n", ""}, {"abcd", "abc\n", "d"}, {"äöüß", "äöü\n", "ß"}, {"abcdef", "abc\ndef\n", ""},
	} {
		if rows, rest := fold(c.line, 3); rows != c.rows || rest != c.rest {
			t.Errorf("%q: got %q and %q, want %q and %q", c.line, rows, rest, c.rows, c.rest)
		}
	}
}
