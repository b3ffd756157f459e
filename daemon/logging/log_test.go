package logging

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/recordfile"
)

// fileAt are options of a log file that nothing else is asked of.
func fileAt(path string) recordfile.Options {
	return recordfile.Options{Path: path, Mode: 0o640, MaxSize: 1 << 20, Sync: recordfile.SyncNever}
}

// open opens a log that is closed with the test.
func open(t *testing.T, opt Options, stderr *bytes.Buffer) *Log {
	t.Helper()
	l, err := Open(opt, stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var utcLine = regexp.MustCompile(`^time=\S+Z level=INFO msg=hello g\.a=1\n$`)

func TestWhereTheLogGoes(t *testing.T) {
	for _, c := range []struct {
		name string
		path string
	}{
		{"stderr", ""},
		{"a file", filepath.Join(t.TempDir(), "tcpmux.log")},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stderr bytes.Buffer
			l := open(t, Options{Level: "info", File: fileAt(c.path)}, &stderr)
			l.Debug("left out")
			l.WithGroup("g").With("a", 1).Info("hello")
			got := stderr.String()
			if c.path != "" {
				got += readFile(t, c.path)
			}
			if !utcLine.MatchString(got) {
				t.Errorf("got %q, want it to match %v", got, utcLine)
			}
		})
	}
}

func TestReopen(t *testing.T) {
	var stderr bytes.Buffer
	path := filepath.Join(t.TempDir(), "tcpmux.log")
	l := open(t, Options{Level: "info"}, &stderr)
	l.Info("one")
	for _, opt := range []Options{
		{Level: "loud", File: fileAt(path)},
		{Level: "info", File: fileAt(filepath.Join(path, "no", "directory"))},
	} {
		if err := l.Reopen(opt); err == nil {
			t.Errorf("%+v: got no error", opt)
		}
	}
	l.Info("two")
	if err := l.Reopen(Options{Level: "debug", File: fileAt(path)}); err != nil {
		t.Fatal(err)
	}
	l.Debug("three")
	if err := l.Reopen(Options{Level: "error", File: fileAt(path)}); err != nil {
		t.Fatal(err)
	}
	l.Warn("left out")
	if err := l.Reopen(Options{Level: "info"}); err != nil {
		t.Fatal(err)
	}
	l.Info("four")
	for _, c := range []struct{ name, got, want string }{
		{"stderr", stderr.String(), "one two four"},
		{"file", readFile(t, path), "three"},
	} {
		var got []string
		for _, m := range regexp.MustCompile(`msg=(\S+)`).FindAllStringSubmatch(c.got, -1) {
			got = append(got, m[1])
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestErrorsOfOpen(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  Options
		want string
	}{
		{"level", Options{Level: "loud"}, `log level: slog: level string "loud"`},
		{"file", Options{Level: "info", File: fileAt("/not/there/tcpmux.log")}, `"/not/there/tcpmux.log": no such file or directory`},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := Open(c.opt, new(bytes.Buffer))
			if l != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v and %v, want no log and %q", l, err, c.want)
			}
		})
	}
}

// TestFollow: once it returns, nothing goes into a file that was moved away.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tcpmux.log")
	var stderr bytes.Buffer
	l := open(t, Options{Level: "info", File: fileAt(path)}, &stderr)
	l.Info("before")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Follow(); err != nil {
		t.Fatal(err)
	}
	l.Info("after")
	if got := readFile(t, path); !strings.Contains(got, "msg=after") || strings.Contains(got, "before") {
		t.Errorf("the new file: got %q, want what came after", got)
	}
	if got := readFile(t, path+".1"); !strings.Contains(got, "msg=before") || strings.Contains(got, "after") {
		t.Errorf("the file that was moved: got %q, want what came before", got)
	}
	if err := open(t, Options{Level: "info"}, &stderr).Follow(); err != nil {
		t.Errorf("without a file: got %v, want nil", err)
	}
}

// TestFaultsOfTheLogFileAreWrittenToStderr, such as a last line that is not whole.
func TestFaultsOfTheLogFileAreWrittenToStderr(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tcpmux.log")
	if err := os.WriteFile(path, []byte("torn"), 0o640); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	open(t, Options{Level: "info", File: fileAt(path)}, &stderr)
	if got := stderr.String(); !strings.HasPrefix(got, "tcpmux: log file: ") || !strings.HasSuffix(got, "\n") {
		t.Errorf("stderr: got %q, want a line with what is wrong with the log file", got)
	}
}

// TestJournalLines: a line is its priority and the attributes.
func TestJournalLines(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(newJournalHandler(&out, slog.LevelDebug))
	log.Debug("a")
	log.Info("b")
	log.With("x", 1).Warn("c")
	log.WithGroup("g").Error("d", "level", "mine")
	want := "<7>msg=a\n<6>msg=b\n<4>msg=c x=1\n<3>msg=d g.level=mine\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestStderrIsTheJournal if its device and inode are those of $JOURNAL_STREAM.
func TestStderrIsTheJournal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(w.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		stream string
		want   string
	}{
		{"it is", fmt.Sprintf("%d:%d", st.Dev, st.Ino), "<6>msg=hello\n"},
		{"it is not", fmt.Sprintf("%d:%d", st.Dev, st.Ino+1), "time="},
		{"there is no journal", "", "time="},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("JOURNAL_STREAM", c.stream)
			l, err := Open(Options{Level: "info"}, w)
			if err != nil {
				t.Fatal(err)
			}
			l.Info("hello")
			line := make([]byte, 100)
			n, err := r.Read(line)
			if got := string(line[:n]); err != nil || !strings.HasPrefix(got, c.want) {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}

// lines counts writes, and those that are no whole line.
type lines struct {
	mu            sync.Mutex
	writes, split int
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	if bytes.Count(b, []byte("\n")) != 1 || !bytes.HasPrefix(b, []byte("<6>")) || !bytes.HasSuffix(b, []byte("\n")) {
		l.split++
	}
	return len(b), nil
}

func TestJournalLinesOfSeveralGoroutinesDoNotMix(t *testing.T) {
	var out lines
	log := slog.New(newJournalHandler(&out, slog.LevelInfo))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			own := log.With("goroutine", i)
			for range 100 {
				own.Info("hello")
			}
		})
	}
	all.Wait()
	if out.writes != 800 || out.split != 0 {
		t.Errorf("got %d writes, %d of them no line, want 800 lines", out.writes, out.split)
	}
}
