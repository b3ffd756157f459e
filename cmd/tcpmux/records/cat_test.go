package records

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpmux/daemon/record"
)

func TestCat(t *testing.T) {
	alice, bob := js(), newPen(record.JSON, "8f3a-2d", "[2001:db8::7]:40313", noon.Add(time.Minute))
	framed := alice.open().say(0, "a", "\n", "").String() + bob.open().say(0, "B", "\r\n", "").String() +
		js().say(2, "b\x00\xff", "", "eof").close(2, 5).String()
	cut := text().say(0, "a\x1b", "\n", "").say(0, "long", "", "cut").say(0, "er", "", "cut").say(0, "b", "", "").say(0, "tail", "", "eof").String()
	for _, c := range []struct {
		name, text string
		sel        Selection
		want       string
		fault      string // "" is none
	}{
		{"all", framed, Selection{}, "a\nB\r\nb\x00\xff", ""},
		{"a client", framed, Selection{Remote: "192.0.2.7:40312"}, "a\nb\x00\xff", ""},
		{"a client's address", framed, Selection{Remote: "2001:db8::7"}, "B\r\n", ""},
		{"a client that is not there", framed, Selection{Remote: "192.0.2.7:4031"}, "", ""},
		{"a session", framed, Selection{Session: "8f3a-2d"}, "B\r\n", ""},
		{"a listener", framed, Selection{Listener: "tcpmux"}, "a\nB\r\nb\x00\xff", ""},
		{"another listener", framed, Selection{Listener: "telnet"}, "", ""},
		{"since", framed, Selection{Since: noon.Add(time.Minute)}, "B\r\n", ""},
		{"until", framed, Selection{Until: noon.Add(time.Minute)}, "a\nb\x00\xff", ""},
		{"again", js().say(0, "ab", "\n", "").say(0, "ab", "\n", "").say(3, "c", "\n", "").say(0, "ab", "\n", "").say(3, "c", "\n", "").String(), Selection{}, "ab\nc\n", ""},
		{"again, with what came meanwhile", js().say(0, "abc", "", "").say(0, "abcdef", "\n", "").String(), Selection{}, "abcdef\n", ""},
		{"a kill during the close", js().say(0, "a", "", "").close(1, 1).say(1, "b", "", "").close(2, 2).String(), Selection{}, "ab", ""},
		{"a chunk of one byte missing", js().say(0, "a", "", "").say(2, "c", "", "").String(), Selection{}, "ac", "1.log:2: session 8f3a-2c: 1 bytes are missing before offset 2"},
		{"chunks, which have no ends", js().say(0, "a", "", "").say(1, "b", "", "").close(2, 2).String(), Selection{}, "ab", ""},
		{"a line end behind the last message", js().say(0, "a", "", "").say(1, "", "\n", "between").close(1, 2).String(), Selection{}, "a\n", ""},
		{"bytes missing", js().say(0, "a", "\n", "").say(5, "b", "\n", "").String(), Selection{}, "a\nb\n", "1.log:2: session 8f3a-2c: 3 bytes are missing before offset 5"},
		{"no record", js().say(0, "a", "\n", "").String() + "x\n" + js().say(2, "b", "\n", "").String(), Selection{}, "a\nb\n", "1.log:2: no record"},
		{"torn", js().say(0, "a", "\n", "").String() + `{"ti`, Selection{}, "a\n", "1.log:2: the last line is torn"},
		{"text", cut, Selection{}, "a\x1b\nlonger\nb\ntail", ""},
		{"text of two messages in pieces", text().say(0, "lo", "", "cut").say(0, "ng", "\n", "cut").say(0, "wi", "", "cut").say(0, "de", "\n", "cut").say(0, "b", "\n", "").String(),
			Selection{}, "longwide\nb\n", ""}, // where the first ends does not show
		{"text of a client", cut, Selection{Remote: "192.0.2.7"}, "a\x1b\nlonger\nb\ntail", ""},
		{"text of another", cut, Selection{Remote: "192.0.2.8"}, "", ""},
		{"text of a time", cut, Selection{Since: noon.Add(1)}, "", ""},
		{"text of a session", cut, Selection{Session: "8f3a-2d"}, "", "1.log: is text, which tells neither session nor listener"},
	} {
		got, fault, err := played(t, c.text, c.sel)
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if !strings.HasPrefix(fault, c.fault) || (fault == "") != (c.fault == "") || errors.Is(err, ErrFaults) != (c.fault != "") {
			t.Errorf("%s: got fault %q and %v, want %q", c.name, fault, err, c.fault)
		}
	}
}

// played is what Cat gives back of a file, and the first fault.
func played(t *testing.T, text string, sel Selection) (out, fault string, err error) {
	t.Helper()
	dir := folder(t, map[string]string{"1.log": text})
	files, err := Open([]string{filepath.Join(dir, "1.log")}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	var b strings.Builder
	n, err := files.Cat(t.Context(), &b, sel, func(f Finding) {
		if fault == "" {
			fault = strings.TrimPrefix(f.String(), dir+"/")
		}
	})
	if n != int64(b.Len()) {
		t.Errorf("got %d as what was selected, want %d", n, b.Len())
	}
	return b.String(), fault, err
}

func TestCatEndsWhenNobodyReads(t *testing.T) {
	files, err := Open([]string{filepath.Join(folder(t, map[string]string{"a": js().say(0, strings.Repeat("x", 1<<20), "", "").String()}), "a")}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	r, w := io.Pipe()
	_ = r.Close()
	if _, err := files.Cat(t.Context(), w, Selection{}, func(Finding) {}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want %v", err, io.ErrClosedPipe)
	}
}

func TestParseRemote(t *testing.T) {
	for s, want := range map[string]string{
		"192.0.2.7:40312": "192.0.2.7:40312", "192.0.2.7": "192.0.2.7", "[2001:DB8:0::7]:5": "[2001:db8::7]:5", "2001:db8::0:7": "2001:db8::7", "[::1]": "::1",
		"uid=01000": "uid=1000", "uid=1,gid=2,pid=3,socket=4": "uid=1,gid=2,pid=3,socket=4", "uid=x": "", "uid=1,gid=2": "",
		"localhost": "", "": "", "192.0.2.7:": "", "192.0.2.7:99999": "",
	} {
		if got, err := ParseRemote(s); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", s, got, err, want)
		}
	}
}
