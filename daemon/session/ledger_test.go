package session_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tcpmux/daemon/servertest"
)

// entry is a message as it was sent, or as it was recorded.
type entry struct {
	data, flag string
	offset     int64 // -1 where the format has none
}

func (e entry) String() string { return fmt.Sprintf("%.120q [%s] at %d", e.data, e.flag, e.offset) }

// ledger has what is in record files, by client.
type ledger struct {
	messages map[string][]entry
	streams  map[string]string // what json gives back, byte for byte
	opened   map[string]int
	closed   map[string][]string // reason, records and bytes
}

func newLedger() *ledger {
	return &ledger{map[string][]entry{}, map[string]string{}, map[string]int{}, map[string][]string{}}
}

// expected cuts a client's stream into messages in the plainest way.
func expected(stream string, most int, offsets bool) (want []entry) {
	at := int64(0)
	add := func(data, flag string, took int) {
		e := entry{data, flag, -1}
		if offsets {
			e.offset = at
		}
		want = append(want, e)
		at += int64(took)
	}
	for line := range strings.Lines(stream) {
		text, ended := strings.CutSuffix(line, "\n")
		flag := "eof"
		if ended {
			flag, text = "", strings.TrimSuffix(text, "\r")
		}
		took := len(line)
		for len(text) > most {
			add(text[:most], "cut", most)
			text, took = text[most:], took-most
			if ended {
				flag = "cut"
			}
		}
		add(text, flag, took)
	}
	return want
}

// recordFiles returns the record file at path and its backups, oldest first.
func recordFiles(t *testing.T, path string) []string {
	t.Helper()
	stem, ext := strings.TrimSuffix(path, filepath.Ext(path)), filepath.Ext(path)
	backups, err := filepath.Glob(stem + "-*" + ext + "*")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(backups) // the time is in the name
	return append(backups, path)
}

// awaitCompressed waits until every backup has become a .gz.
func awaitCompressed(t *testing.T, path string) {
	t.Helper()
	var plain []string
	servertest.Eventually(t, func() bool {
		plain = slices.DeleteFunc(recordFiles(t, path), func(f string) bool { return f == path || strings.HasSuffix(f, ".gz") })
		return len(plain) == 0
	}, func() { t.Errorf("backups: got %q uncompressed, want none", plain) })
}

func readRecords(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if n := len(text); n > 0 && text[n-1] != '\n' {
		t.Errorf("%s: got %q at its end, want a whole line", filepath.Base(name), text[max(0, n-80):])
	}
	return string(text)
}

func (l *ledger) read(t *testing.T, format, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		ok := l.readText(strings.TrimSuffix(line, "\n"))
		if format == "json" {
			ok = l.readJSON(line)
		}
		if !ok {
			t.Fatalf("got %q, want a record", line)
		}
	}
}

var (
	stampRE   = `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z `
	messageRE = regexp.MustCompile(stampRE + `from (\S+)(?: \[(\w+)\])?: (.*)$`)
	openRE    = regexp.MustCompile(stampRE + `open from (\S+)$`)
	closeRE   = regexp.MustCompile(stampRE + `close from (\S+): (\w+, \d+ records, \d+ bytes)$`)
	escapeRE  = regexp.MustCompile(`\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4})`)
)

func (l *ledger) readText(line string) bool {
	if m := messageRE.FindStringSubmatch(line); m != nil {
		l.messages[m[1]] = append(l.messages[m[1]], entry{unescape(m[3]), m[2], -1})
		return true
	}
	if m := openRE.FindStringSubmatch(line); m != nil {
		l.opened[m[1]]++
		return true
	}
	m := closeRE.FindStringSubmatch(line)
	if m != nil {
		l.closed[m[1]] = append(l.closed[m[1]], m[2])
	}
	return m != nil
}

func unescape(s string) string {
	return escapeRE.ReplaceAllStringFunc(s, func(e string) string {
		if e == `\\` {
			return `\`
		}
		n, _ := strconv.ParseUint(e[2:], 16, 16)
		if e[1] == 'x' {
			return string([]byte{byte(n)})
		}
		return string(rune(n))
	})
}

func (l *ledger) readJSON(line string) bool {
	var r struct {
		Time, Kind, Listener, Session, Remote, Reason, Flag string
		Offset, Records, Bytes                              int64
		Head, Data, End                                     *string
		HeadBase64                                          []byte `json:"head_base64"`
		DataBase64                                          []byte `json:"data_base64"`
		EndBase64                                           []byte `json:"end_base64"`
	}
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if d.Decode(&r) != nil || r.Session == "" || r.Listener == "" {
		return false
	}
	switch r.Kind {
	case "open":
		l.opened[r.Remote]++
	case "close":
		l.closed[r.Remote] = append(l.closed[r.Remote], closing(r.Reason, r.Records, r.Bytes))
	case "message":
		data := either(r.Data, r.DataBase64)
		l.messages[r.Remote] = append(l.messages[r.Remote], entry{data, r.Flag, r.Offset})
		if r.Offset != int64(len(l.streams[r.Remote])) {
			return false
		}
		l.streams[r.Remote] += either(r.Head, r.HeadBase64) + data + either(r.End, r.EndBase64)
	default:
		return false
	}
	return true
}

// either returns a member as it was written: as text if that was possible, else in base64.
func either(text *string, base64 []byte) string {
	if text != nil {
		return *text
	}
	return string(base64)
}

// closing returns the text of a close record behind the address.
func closing(reason string, records, bytes int64) string {
	return reason + ", " + strconv.FormatInt(records, 10) + " records, " + strconv.FormatInt(bytes, 10) + " bytes"
}

// compare reports the first message of a client that is not as it was sent.
func (l *ledger) compare(t *testing.T, remote string, want []entry) {
	t.Helper()
	got := l.messages[remote]
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("%s: message %d: got %v, want %v", remote, i, got[i], want[i])
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: got %d messages, want %d", remote, len(got), len(want))
	}
}
