package record

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// said makes the records of messages of a session, one behind the other.
func said(session string, from int64, messages ...*Message) (lines []byte) {
	e := NewEncoder(JSON)
	e.Begin(&Source{Listener: "tcpmux", Session: session, Remote: "192.0.2.1:5"}, time.Unix(1700000000, 0))
	for _, m := range messages {
		m.Offset = from
		lines = e.Message(lines, m)
		from += int64(m.Len())
	}
	return e.Close(lines, "eof", 1, 1)
}

func TestEnds(t *testing.T) {
	line := func(text string) *Message { return message("", text, "\r\n", "") }
	a := said("a", 100, line("one"), message("\x00\xff\x03", "\xff\"\n", "", ""))
	b := said("b", 0, line(`"session":"a"`), line("\u2028"))
	for _, c := range []struct {
		name         string
		backup, file string
		tail         int64
		want         map[string]int64
	}{
		{"empty", "", "", 1 << 20, map[string]int64{}},
		{"two sessions", "", string(a) + string(b), 1 << 20, map[string]int64{"a": 111, "b": 20}},
		{"the last counts", "", string(a) + string(b) + string(said("a", 111, line("x"))), 1 << 20, map[string]int64{"a": 114, "b": 20}},
		{"what is not in the tail", "", string(a) + string(b), int64(len(b)), map[string]int64{"b": 20}},
		{"just rotated", string(a), string(b), 1 << 20, map[string]int64{"a": 111, "b": 20}},
		{"no records", "", "hello\n{\n{\"session\":\"a\",\"kind\":\"message\"}x\n\n" + string(b), 1 << 20, map[string]int64{"b": 20}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "records.log")
			write := func(name, text string) {
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(path, c.file)
			if c.backup != "" {
				write(filepath.Join(filepath.Dir(path), "records-2026-11-22T13-05-41.118.log"), c.backup)
				write(filepath.Join(filepath.Dir(path), "records-2026-11-21T13-05-41.118.log"), "older")
				write(filepath.Join(filepath.Dir(path), "records-other.log"), "somebody else's")
			}
			got, err := Ends(path, c.tail)
			if err != nil || !maps.Equal(got, c.want) {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
		})
	}
	if _, err := Ends(filepath.Join(t.TempDir(), "none"), 1); err == nil {
		t.Error("without a file: got no error, want one")
	}
}
