package records

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpmux/daemon/record"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// pen writes records of one session.
type pen struct {
	*record.Encoder
	b bytes.Buffer
}

func newPen(f record.Format, session, remote string, at time.Time) *pen {
	p := &pen{Encoder: record.NewEncoder(f)}
	p.Begin(&record.Source{Listener: "tcpmux", Session: session, Remote: remote}, at)
	return p
}

func (p *pen) open() *pen { p.b.Write(p.Open(nil)); return p }

func (p *pen) say(offset int64, data, end, flag string) *pen {
	p.b.Write(p.Message(nil, &record.Message{Offset: offset, Raw: []byte(data + end), EndLen: len(end), Flag: flag}))
	return p
}

func (p *pen) close(records, bytes int64) *pen {
	p.b.Write(p.Close(nil, "eof", records, bytes))
	return p
}

func (p *pen) String() string { return p.b.String() }

func js() *pen   { return newPen(record.JSON, "8f3a-2c", "192.0.2.7:40312", noon) }
func text() *pen { return newPen(record.Text, "", "192.0.2.7:40312", noon) }

func TestVerify(t *testing.T) {
	for _, c := range []struct {
		name, text string
		faults     []string // beginnings of "LINE: what"
		sum        string   // of the numbers that are not 0
	}{
		{"nothing", "", nil, "proven"},
		{"a session", js().open().say(0, "a", "\n", "").say(2, "b", "", "eof").close(2, 3).String(), nil, "proven sessions=1 messages=2 bytes=3"},
		{"one that is open", js().open().say(0, "a", "\n", "").String(), nil, "proven sessions=1 open=1 messages=1 bytes=2"},
		{"one whose opening was held", newPen(record.JSON, "8f3a-2d", "192.0.2.8:1", noon.Add(time.Hour)).say(0, "a", "\n", "").String() + js().open().say(0, "a", "\n", "").close(1, 2).String(),
			nil, "proven sessions=2 open=1 messages=2 bytes=4"},
		{"one without events", js().say(0, "a", "\n", "").say(2, "b", "\r\n", "").String(), nil, "proven sessions=1 open=1 messages=2 bytes=5"},
		{"one that began earlier", js().say(100, "a", "\n", "").close(30, 102).String(), nil, "proven sessions=1 earlier=1 messages=1 bytes=2"},
		{"its opening is earlier", js().say(0, "a", "\n", "").close(1, 2).String(), nil, "proven sessions=1 earlier=1 messages=1 bytes=2"},
		{"nothing but its close", js().close(30, 102).String(), nil, "proven sessions=1 earlier=1"},
		{"a kill during the close, and the client went on", js().open().say(0, "a", "\n", "").close(1, 2).say(2, "b", "\n", "").close(2, 4).String(), nil, "proven sessions=1 messages=2 bytes=4"},
		{"the same, and the client is there still", js().open().close(0, 0).say(0, "a", "\n", "").String(), nil, "proven sessions=1 open=1 messages=1 bytes=2"},
		{"the same, with the last message again", js().open().say(0, "a", "\n", "").close(1, 2).say(0, "a", "\n", "").say(2, "b", "\n", "").close(2, 4).String(), nil, "proven sessions=1 messages=2 bytes=4 repeated=1"},
		{"the same, and the piece became a message", js().open().say(0, "a", "", "timeout").close(1, 1).say(0, "ab", "\n", "").close(1, 3).String(), nil, "proven sessions=1 messages=1 bytes=3 repeated=1"},
		{"a kill during a close in an earlier file", js().close(30, 102).say(102, "a", "\n", "").close(31, 104).String(), nil, "proven sessions=1 earlier=1 messages=1 bytes=2"},
		{"a kill during the close, and a message is missing", js().open().say(0, "a", "\n", "").close(1, 2).say(4, "c", "\n", "").close(3, 6).String(),
			[]string{"4: session 8f3a-2c: 2 bytes are missing: the message begins at offset 4, what came before ends at 2"}, "sessions=1 messages=2 bytes=4"},
		{"a kill during the close, and the next close knows less", js().open().say(0, "a", "\n", "").close(1, 2).close(0, 0).String(),
			[]string{"4: session 8f3a-2c: its close tells of 0 bytes, and there are 2"}, "sessions=1 messages=1 bytes=2"},
		{"a kill during the opening", js().open().say(0, "a", "\n", "").open().say(2, "b", "\n", "").close(2, 4).String(), nil, "proven sessions=1 messages=2 bytes=4"},
		{"two openings", js().open().open().String(), nil, "proven sessions=1 open=1"},
		{"two closes", js().open().close(0, 0).close(0, 0).String(), nil, "proven sessions=1"},
		{"two closes that differ", js().open().say(0, "a", "\n", "").close(1, 2).close(1, 3).String(), []string{"4: session 8f3a-2c: 1 bytes are missing: its close tells of 3"}, "sessions=1 messages=1 bytes=2"},
		{"a proxy, which records no message", js().open().close(0, 7).close(0, 7).String(), nil, "proven sessions=1"},
		{"the last message is missing", js().open().say(0, "a", "\n", "").close(2, 4).String(),
			[]string{"3: session 8f3a-2c: 2 bytes are missing: its close tells of 4, and there are 2"}, "sessions=1 messages=1 bytes=2"},
		{"too few bytes in the close", js().open().say(0, "a", "\n", "").close(1, 1).String(),
			[]string{"3: session 8f3a-2c: its close tells of 1 bytes, and there are 2"}, "sessions=1 messages=1 bytes=2"},
		{"too few records in the close", js().open().say(0, "a", "\n", "").close(0, 2).String(),
			[]string{"3: session 8f3a-2c: its close tells of 0 records, and there are 1"}, "sessions=1 messages=1 bytes=2"},
		{"another client in the middle", js().open().say(0, "a", "\n", "").String() + newPen(record.JSON, "8f3a-2c", "192.0.2.8:1", noon).say(2, "b", "\n", "").String(),
			[]string{"3: session 8f3a-2c: is that of 192.0.2.8:1 on listener tcpmux, and was of 192.0.2.7:40312 on tcpmux before"}, "sessions=1 open=1 messages=2 bytes=4"},
		{"two messages again", js().open().say(0, "a", "\n", "").say(2, "b", "\n", "").say(0, "a", "\n", "").say(2, "b", "\n", "").close(2, 4).String(),
			nil, "proven sessions=1 messages=2 bytes=4 repeated=2"},
		{"again and again", js().say(0, "ab", "\n", "").say(0, "ab", "\n", "").say(0, "ab", "\n", "").say(3, "c", "\n", "").say(0, "ab", "\n", "").say(3, "c", "\n", "").String(),
			nil, "proven sessions=1 open=1 messages=2 bytes=5 repeated=4"},
		{"again, with what came meanwhile", js().open().say(0, "abc", "", "").say(0, "abcdef", "", "").say(6, "g", "\n", "").close(2, 8).String(),
			nil, "proven sessions=1 messages=2 bytes=8 repeated=1"},
		{"again, and something else", js().open().say(0, "abc", "", "").say(0, "abXdef", "", "").close(1, 6).String(),
			[]string{"3: session 8f3a-2c: the bytes at offset 0 to 3 were recorded before, and were others"}, "sessions=1 messages=1 bytes=6 repeated=1"},
		{"again, and counted anew", js().open().say(0, "a", "\n", "").say(2, "b", "\n", "").say(2, "b", "\n", "").close(1, 4).String(),
			nil, "proven sessions=1 messages=2 bytes=4 repeated=1"},
		{"chunks", js().open().say(0, "a", "", "").say(1, "b", "", "").close(2, 2).String(), nil, "proven sessions=1 messages=2 bytes=2"},
		{"a chunk of one byte is missing", js().open().say(0, "a", "", "").say(2, "c", "", "").close(3, 3).String(),
			[]string{"3: session 8f3a-2c: 1 bytes are missing: the message begins at offset 2, what came before ends at 1"}, "sessions=1 messages=2 bytes=2"},
		{"a chunk of two bytes is missing", js().open().say(0, "a", "", "").say(3, "d", "", "").close(3, 4).String(),
			[]string{"3: session 8f3a-2c: 2 bytes are missing"}, "sessions=1 messages=2 bytes=2"},
		{"the last chunk is missing", js().open().say(0, "a", "", "").close(2, 2).String(),
			[]string{"3: session 8f3a-2c: 1 bytes are missing: its close tells of 2, and there are 1"}, "sessions=1 messages=1 bytes=1"},
		{"a chunk of one byte is missing in what came again", js().open().say(0, "a", "", "").say(1, "b", "", "").say(2, "c", "", "").say(0, "a", "", "").say(2, "c", "", "").close(3, 3).String(),
			nil, "proven sessions=1 messages=3 bytes=3 repeated=2"},
		{"a line end behind the last message", js().open().say(0, "a", "", "").say(1, "", "\n", "between").close(1, 2).String(), nil, "proven sessions=1 messages=1 bytes=2"},
		{"much in front of a start", js().open().say(0, "", "noise", "between").say(5, "a", "\n", "").say(7, "", "noise", "between").close(1, 12).String(), nil, "proven sessions=1 messages=1 bytes=12"},
		{"nothing but a line end", js().open().say(0, "", "\n", "between").close(0, 1).String(), nil, "proven sessions=1 bytes=1"},
		{"a line end that is missing", js().open().say(0, "", "\n", "between").close(0, 2).String(), []string{"3: session 8f3a-2c: 1 bytes are missing"}, "sessions=1 bytes=1"},
		{"cut back by an outside copytruncate", strings.Repeat("\x00", 300) + "\n" + js().open().String(), []string{"1: a hole of 300 NUL bytes"}, "sessions=1 open=1"},
		{"a hole up to a record", strings.Repeat("\x00", 300<<10) + js().open().String(), []string{"1: a hole of 307200 NUL bytes"}, "sessions=1 open=1"},
		{"an empty line", js().open().String() + "\n", []string{"2: an empty line"}, "sessions=1 open=1"},
		{"nothing that is ours", "hello\n", []string{"1: no record: byte 1: got \"hello\", want a time"}, ""},
		{"hostile", "\x1b]0;x\x07\xff\n", []string{`1: no record: byte 1: got "\x1b]0;x\a\xff", want a time`}, ""},
		{"a time at which the clock begins", strings.ReplaceAll(js().open().String(), "2026-11-22T12", "1970-01-01T00"), nil, "proven sessions=1 open=1"},

		{"text", text().open().say(0, "a", "\n", "").say(2, "b", "", "eof").close(2, 3).String(), nil, "sessions=1 messages=2 bytes=2"},
		{"text, an opening that was held", newPen(record.Text, "", "192.0.2.8:1", noon.Add(time.Hour)).open().String() + text().open().say(0, "a", "\n", "").close(1, 2).String(),
			nil, "sessions=2 open=1 messages=1 bytes=1"},
		{"text without events", text().say(0, "a", "\n", "").String(), nil, "messages=1 bytes=1"},
		{"text, a line missing", text().open().say(0, "a", "\n", "").close(2, 3).String(), []string{"3: 192.0.2.7:40312: 1 records are missing: its close tells of 2, and there are 1"}, "sessions=1 messages=1 bytes=1"},
		{"text, and line ends between messages", text().open().say(0, "a", "", "").close(1, 2+31+31).String(), nil, "sessions=1 messages=1 bytes=1"},
		{"text, and much in front of a start", text().open().say(0, "a", "\n", "").close(1, 1000).String(), nil, "sessions=1 messages=1 bytes=1"},
		{"text, too many bytes", text().open().say(0, "abc", "\n", "").close(1, 2).String(), []string{"3: 192.0.2.7:40312: its close tells of 2 bytes"}, "sessions=1 messages=1 bytes=3"},
		{"text, again", text().open().say(0, "a", "\n", "").say(0, "a", "\n", "").close(1, 2).String(), nil, "sessions=1 messages=2 bytes=2 repeated=1"},
		{"text, closed by nobody", text().open().say(0, "a", "\n", "").open().close(0, 0).String(), nil, "sessions=2 open=1 messages=1 bytes=1"},
		{"text, a kill during the close, and the client went on", text().open().say(0, "a", "\n", "").close(1, 2).say(2, "b", "\n", "").close(2, 4).String(), nil, "sessions=1 messages=2 bytes=2"},
		{"text, a kill during the close, and a message is missing", text().open().say(0, "a", "\n", "").close(1, 2).close(2, 4).String(),
			[]string{"4: 192.0.2.7:40312: 1 records are missing"}, "sessions=1 messages=1 bytes=1"},
		{"text, a kill during a close in an earlier file", text().close(5, 9).say(9, "b", "\n", "").close(6, 11).String(), nil, "earlier=1 messages=1 bytes=1"},
		{"text, the address is another client's next", text().open().say(0, "a", "\n", "").close(1, 2).open().close(0, 0).String(), nil, "sessions=2 messages=1 bytes=1"},
		{"text, began earlier", text().close(5, 5).String(), nil, "earlier=1"},
		{"text, glued", strings.TrimSuffix(text().open().String(), "\n") + text().say(0, "a", "\n", "").String(), []string{"1: two records are glued together"}, "sessions=1 open=1 messages=1 bytes=1"},
		{"text, torn", strings.TrimSuffix(text().open().String(), "2\n"), []string{"1: the last line is torn: its end is missing behind 52 bytes"}, ""},
		{"text, an escape broken", strings.Replace(text().say(0, "\x1b", "", "").String(), "x1b", "xxb", 1), []string{`1: no record: byte 53: got "xb", want hexadecimal digits`}, ""},
		{"text in JSON", js().open().String() + text().open().String(), []string{"2: a record of another format than those before it"}, "sessions=1 open=1"},
		{"JSON in text", text().open().String() + js().open().String(), []string{"2: a record of another format than those before it"}, "sessions=1 open=1"},
	} {
		sum, faults := verified(t, c.text)
		if !match(faults, c.faults) {
			t.Errorf("%s: got %q, want %q", c.name, faults, c.faults)
		}
		if got := brief(sum); got != c.sum || sum.Whole != (len(c.faults) == 0) {
			t.Errorf("%s: got %q, whole: %v, want %q", c.name, got, sum.Whole, c.sum)
		}
	}
}

// brief is what is not 0.
func brief(s Summary) string {
	var parts []string
	if s.Proven {
		parts = append(parts, "proven")
	}
	for _, c := range []struct {
		name string
		n    int64
	}{{"sessions", s.Sessions}, {"open", s.Open}, {"earlier", s.Earlier}, {"messages", s.Messages}, {"bytes", s.Bytes}, {"repeated", s.Repeated}} {
		if c.n != 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", c.name, c.n))
		}
	}
	return strings.Join(parts, " ")
}

func TestVerifyOverSeveralFiles(t *testing.T) {
	a, b := js().open().say(0, "a", "\n", "").String(), js().say(2, "b", "\n", "").close(2, 4).String()
	for _, c := range []struct {
		name   string
		texts  []string
		faults []string
	}{
		{"in order", []string{a, b}, nil},
		{"in the other", []string{b, a}, []string{"1.log:1: session 8f3a-2c: its opening comes behind", "1.log:2: session 8f3a-2c: a message at offset 0 comes behind"}},
		{"with nothing between", []string{a, "", b}, nil},
		{"with text between, which may hold what is missing", []string{a, text().say(0, "x", "\n", "").String(), js().say(4, "c", "\n", "").close(3, 6).String()}, nil},
		{"a torn one before another", []string{a + `{"ti`, b}, []string{"0.log:3: the last line is torn"}},
	} {
		if _, faults := verified(t, c.texts...); !match(faults, c.faults) {
			t.Errorf("%s: got %q, want %q", c.name, faults, c.faults)
		}
	}
}

func packed(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text)) // a Buffer takes all
	_ = z.Close()
	return b.String()
}

func TestVerifyOfCompressedFiles(t *testing.T) {
	whole := packed(js().open().say(0, strings.Repeat("a", 5000), "\n", "").close(1, 5001).String())
	for _, c := range []struct {
		name, text string
		faults     []string
	}{
		{"whole", whole, nil},
		{"cut off", whole[:len(whole)-9], []string{"4: the compressed file is cut off here"}},
		{"cut off at once", whole[:5], []string{"0: the compressed file is cut off here"}},
		{"changed", whole[:len(whole)-6] + "x" + whole[len(whole)-5:], []string{"4: the compressed file is damaged here: gzip: invalid checksum"}},
	} {
		if _, faults := verified(t, c.text); !match(faults, c.faults) {
			t.Errorf("%s: got %q, want %q", c.name, faults, c.faults)
		}
	}
}

// folder makes files.
func folder(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOpenOrdersFiles(t *testing.T) {
	const first, second = "records-2026-11-22T13-05-41.100.log", "records-2026-11-22T13-05-41.200.log.gz"
	dir := folder(t, map[string]string{"records.log": "", first: "", first + ".gz": "", second: packed(""), "other.log": "", "other-2026-01-01T00-00-00.000.log": ""})
	for _, c := range []struct {
		name    string
		names   []string
		backups bool
		want    []string
	}{
		{"one", []string{"records.log"}, false, []string{"records.log"}},
		{"one with backups", []string{"records.log"}, true, []string{first, second, "records.log"}},
		{"backups by hand", []string{"records.log", second, first}, false, []string{first, second, "records.log"}},
		{"compressed and not", []string{first + ".gz", first}, false, []string{first}},
		{"compressed and not, by other names", []string{first + ".gz", "./././" + first}, false, []string{first}},
		{"compressed by another name and not", []string{"./" + first + ".gz", first}, false, []string{first}},
		{"twice", []string{"records.log", "./records.log"}, false, []string{"records.log"}},
		{"two with backups", []string{"records.log", "other.log"}, true, []string{first, second, "records.log", "other-2026-01-01T00-00-00.000.log", "other.log"}},
	} {
		var names []string
		for _, n := range c.names {
			names = append(names, dir+"/"+n)
		}
		files, err := Open(names, c.backups, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range files.list {
			got = append(got, filepath.Base(f.name))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		_ = files.Close()
	}
	for name, want := range map[string]string{"none": `open record file "` + dir + `/none": no such file or directory`, "": `open record file "` + dir + `/": is not a regular file`} {
		if _, err := Open([]string{dir + "/" + name}, false, nil); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", name, err, want)
		}
	}
}

// TestRotationMeanwhileTakesNothingAway from files that are open.
func TestRotationMeanwhileTakesNothingAway(t *testing.T) {
	dir := folder(t, map[string]string{"records.log": js().open().String()})
	files, err := Open([]string{dir + "/records.log"}, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if err := os.Remove(dir + "/records.log"); err != nil {
		t.Fatal(err)
	}
	if sum, err := files.Verify(t.Context(), VerifyOptions{}); err != nil || sum.Sessions != 1 {
		t.Errorf("got %+v, %v, want a session", sum, err)
	}
}

// TestAFileBetweenTwoMomentsOfItsRotation, moved aside and not made anew yet, is waited for.
func TestAFileBetweenTwoMomentsOfItsRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	stop, rotating := make(chan struct{}), make(chan error, 1)
	rotate := func(i int) error {
		backup := strings.TrimSuffix(path, ".log") + time.UnixMilli(int64(i)).UTC().Format("-2006-01-02T15-04-05.000.log")
		err := os.Rename(path, backup)
		return errors.Join(err, os.WriteFile(path, nil, 0o600))
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := rotate(0); err != nil {
		t.Fatal(err)
	}
	go func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				rotating <- nil
				return
			default:
			}
			if err := rotate(i % 1000); err != nil {
				rotating <- err
				return
			}
		}
	}()
	for range 2000 {
		fs, err := Open([]string{path}, false, nil)
		if err != nil {
			t.Error(err)
			break
		}
		_ = fs.Close() // they were only opened
	}
	close(stop)
	if err := <-rotating; err != nil {
		t.Error(err)
	}
}

// TestAFileThatIsRotatedWhileItIsOpened, and compressed, is not read twice, nor is the new one left
// out.
func TestAFileThatIsRotatedWhileItIsOpened(t *testing.T) {
	one := func(session string) string {
		return newPen(record.JSON, session, "192.0.2.7:1", noon).open().close(0, 0).String()
	}
	dir := folder(t, map[string]string{"records.log": one("1")})
	path, times := filepath.Join(dir, "records.log"), 0
	files := &Files{}
	files.opened = func() {
		if times++; times > 2 {
			return
		}
		text, err := os.ReadFile(path)
		backup := fmt.Sprintf("%s/records-2026-11-22T13-05-41.%03d.log.gz", dir, times)
		if err := errors.Join(err, os.WriteFile(backup, []byte(packed(string(text))), 0o600), os.Remove(path), os.WriteFile(path, []byte(one(fmt.Sprint(times+1))), 0o600)); err != nil {
			t.Error(err)
		}
	}
	if err := files.openWithBackups(path); err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	files.sort()
	sum, err := files.Verify(t.Context(), VerifyOptions{Fault: func(f Finding) { t.Error(f) }})
	if err != nil || sum.Sessions != 3 || len(sum.Files) != 3 {
		t.Errorf("got %+v (%v), want three sessions in three files", sum, err)
	}
}

// TestALineThatIsJustBeingWritten is waited for.
func TestALineThatIsJustBeingWritten(t *testing.T) {
	line := js().open().String()
	path := filepath.Join(folder(t, map[string]string{"records.log": line[:40]}), "records.log")
	files, err := Open([]string{path}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	files.Progress = func(n int64) {
		if n == 0 { // the reader has come to the end
			// If it fails, so does what follows.
			_ = os.WriteFile(path, []byte(line), 0o600)
		}
	}
	if sum, err := files.Verify(t.Context(), VerifyOptions{}); err != nil || !sum.Whole || sum.Sessions != 1 {
		t.Errorf("got %+v, %v, want a session and no fault", sum, err)
	}
}

// TestOpenRefuses what is no file, at once: a FIFO without a writer would not be opened for ever.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, err := range map[string]error{
		"directory": os.Mkdir(dir+"/directory", 0o700),
		"fifo":      syscall.Mkfifo(dir+"/fifo", 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
		opened := make(chan error, 1)
		go func() {
			_, err := Open([]string{filepath.Join(dir, name)}, false, nil)
			opened <- err
		}()
		select {
		case err := <-opened:
			if err == nil || !strings.Contains(err.Error(), "is not a regular file") {
				t.Errorf("%s: got %v, want that it is not a regular file", name, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: got nothing, want an error", name)
		}
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	files, err := Open([]string{filepath.Join(folder(t, map[string]string{"a": js().open().String()}), "a")}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if _, err := files.Verify(ctx, VerifyOptions{}); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}

// TestClosedSessionsAreForgotten, but for the last ones.
func TestClosedSessionsAreForgotten(t *testing.T) {
	l := newLedger()
	for i := range 3 * closedKept {
		s, known := l.session(&record.Source{Session: fmt.Sprint(i)})
		l.message(s, &record.Message{Raw: []byte("x")})
		l.ends(s, known, &record.Record{})
	}
	if len(l.byName) != closedKept || l.open != 0 || l.forgotten != 0 {
		t.Errorf("got %d sessions, %d of them open, %d forgotten, want %d, 0, 0", len(l.byName), l.open, l.forgotten, closedKept)
	}
	if _, known := l.session(&record.Source{Session: fmt.Sprint(3*closedKept - 1)}); !known {
		t.Error("got the last one forgotten, want it known")
	}
}

// TestAReopenedSessionIsNotForgotten when its first close is: it is open.
func TestAReopenedSessionIsNotForgotten(t *testing.T) {
	l := newLedger()
	src := &record.Source{Session: "reopened"}
	s, known := l.session(src)
	l.ends(s, known, &record.Record{})
	l.message(s, &record.Message{Raw: []byte("x")})
	for i := range 2 * closedKept {
		other, known := l.session(&record.Source{Session: fmt.Sprint(i)})
		l.ends(other, known, &record.Record{})
	}
	if again, known := l.session(src); again != s || !known || l.open != 1 {
		t.Errorf("got it known: %v, and %d open, want the same session, and 1", known, l.open)
	}
}

// TestOpenSessionsAreBounded: of too many, those are forgotten that were silent the longest, and
// nothing is called proven.
func TestOpenSessionsAreBounded(t *testing.T) {
	l := newLedger()
	l.most = 100
	for i := range 1000 {
		s, _ := l.session(&record.Source{Session: fmt.Sprint(i)})
		l.message(s, &record.Message{Raw: []byte("x")})
		if _, known := l.session(&record.Source{Session: "0"}); !known {
			t.Fatalf("after %d: got the one that speaks forgotten, want it known", i)
		}
	}
	if n := int64(len(l.byName)); n > 100 || n != int64(l.open) || l.forgotten != 1000-n {
		t.Errorf("got %d sessions, %d open and %d forgotten, want at most 100 and 1000 in all", n, l.open, l.forgotten)
	}
	v := &verifier{ledger: l, speakers: newTracker[*speaker]()}
	if v.end(); v.Proven || !v.Whole || v.Open != 1000 {
		t.Errorf("got %+v, want it not proven, and 1000 open", v.Summary)
	}
}

func TestFindingIsOneSafeLine(t *testing.T) {
	for _, c := range []struct {
		f    Finding
		want string
	}{
		{Finding{"a b.log", 3, "x"}, "a b.log:3: x"},
		{Finding{"a.log", 0, "x"}, "a.log: x"},
		{Finding{"\x1b\n", 1, "x"}, `"\x1b\n":1: x`},
	} {
		if got := c.f.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestLongLinesAreNotKept(t *testing.T) {
	l := newLines(strings.NewReader(strings.Repeat("x", 1<<20)+"\nshort\n"), false)
	l.most = 1000
	p, err := l.next()
	if err != nil || !p.long || len(p.text) != l.most || cap(l.buf) > 4*l.most {
		t.Errorf("got %d bytes in %d, long: %v (%v), want %d", len(p.text), cap(l.buf), p.long, err, l.most)
	}
	if p, err = l.next(); err != nil || p.long || string(p.text) != "short" || p.line != 2 {
		t.Errorf("got %+v (%v), want the short line", p, err)
	}
}
