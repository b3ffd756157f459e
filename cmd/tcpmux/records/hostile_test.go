package records

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// opened opens a file that says text.
func opened(t *testing.T, text string) *Files {
	t.Helper()
	files, err := Open([]string{filepath.Join(folder(t, map[string]string{"1.log": text}), "1.log")}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = files.Close() })
	return files
}

// TestManyRecordsOnOneLine, whose end is bad, so that no rest of it is a record: were each rest
// read to its end, it would be many gigabytes.
func TestManyRecordsOnOneLine(t *testing.T) {
	const n = 100000
	one := strings.TrimSuffix(text().say(0, "a", "\n", "").String(), "\n")
	files := opened(t, strings.Repeat(one, n)+"\x1b\n")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	sum, err := files.Verify(ctx, VerifyOptions{})
	if err != nil || sum.Faults != n || sum.Messages != n-1 {
		t.Errorf("got %+v, %v, want %d faults and all but the last message", sum, err, n)
	}
}

// TestARecordThatQuotesAnother is one record, also behind a piece of a third.
func TestARecordThatQuotesAnother(t *testing.T) {
	quoting := text().say(0, "forged: "+text().open().String(), "", "eof").String()
	for _, c := range []struct {
		name, text string
		faults     []string
	}{
		{"alone", quoting, nil},
		{"behind a piece", strings.TrimSuffix(text().open().String(), "2\n") + quoting, []string{"1: two records are glued together"}},
		{"behind several", strings.Repeat(strings.TrimSuffix(text().open().String(), "\n"), 5) + quoting, slicesOf("1: two records are glued together", 5)},
	} {
		if sum, faults := verified(t, c.text); !match(faults, c.faults) || sum.Messages != 1 {
			t.Errorf("%s: got %q and %d messages, want %q and 1", c.name, faults, sum.Messages, c.faults)
		}
	}
}

func slicesOf(s string, n int) []string { return strings.Split(strings.Repeat(s+"|", n-1)+s, "|") }

// TestReadingEndsWithinALine when its context does.
func TestReadingEndsWithinALine(t *testing.T) {
	one := strings.TrimSuffix(text().open().String(), "\n")
	for name, text := range map[string]string{
		"glued":              strings.Repeat(one, 1000) + "\n",
		"without a line end": one + one + "\n" + strings.Repeat("x", 8<<20),
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		why, faults := errors.New("enough"), 0
		_, err := opened(t, text).Verify(ctx, VerifyOptions{Fault: func(Finding) {
			faults++
			cancel(why)
		}})
		if !errors.Is(err, why) || faults > 2 {
			t.Errorf("%s: got %v after %d faults, want %v after the first", name, err, faults, why)
		}
	}
}

func TestFaultsAreToldUpToANumber(t *testing.T) {
	files := opened(t, strings.Repeat("x\n", 3*MostFaults))
	var told []Finding
	sum, err := files.Verify(t.Context(), VerifyOptions{Fault: func(f Finding) { told = append(told, f) }})
	if err != nil || sum.Faults != 3*MostFaults || sum.Files[0].Faults != 3*MostFaults || len(told) != MostFaults+1 {
		t.Fatalf("got %+v, %v and %d told, want %d faults and %d told", sum, err, len(told), 3*MostFaults, MostFaults+1)
	}
	if got, want := told[MostFaults], (Finding{files.list[0].name, 0, "2000 faults more, 3000 in all: only the first 1000 are told"}); got != want {
		t.Errorf("verify: got %v, want %v", got, want)
	}
	last := Finding{}
	if _, err := files.Cat(t.Context(), &bytes.Buffer{}, Selection{}, func(f Finding) { last = f }); !errors.Is(err, ErrFaults) || last != told[MostFaults] {
		t.Errorf("cat: got %v and %v last, want %v", err, last, told[MostFaults])
	}
}

func TestCompressionThatIsNotReadIsSaid(t *testing.T) {
	for name, head := range map[string]string{"xz": "\xfd7zXZ\x00\x00", "zstd": "\x28\xb5\x2f\xfd\x04", "bzip2": "BZh91AY", "lz4": "\x04\x22\x4d\x18\x64"} {
		_, faults := verified(t, head+strings.Repeat("\x00\n\x1b", 1000))
		want := fmt.Sprintf("0: is compressed with %s, which is not read here; pipe it in: ", name)
		if !match(faults, []string{want}) {
			t.Errorf("%s: got %q, want %q", name, faults, want)
		}
	}
}

// TestNamesInRecordsAreBounded, or a few lines could fill the memory with sessions of long names.
func TestNamesInRecordsAreBounded(t *testing.T) {
	long := strings.Repeat("a", 256)
	for name, text := range map[string]string{
		"session":      strings.Replace(js().open().String(), "8f3a-2c", long, 1),
		"listener":     strings.Replace(js().open().String(), "tcpmux", long, 1),
		"address":      strings.Replace(js().open().String(), "192.0.2.7:40312", long, 1),
		"text address": strings.Replace(text().open().String(), "192.0.2.7:40312", long, 1),
		"flag":         strings.Replace(js().say(0, "a", "", "eof").String(), "eof", long, 1),
	} {
		if _, faults := verified(t, text); !match(faults, []string{"1: no record: byte"}) {
			t.Errorf("%s: got %q, want that it is no record", name, faults)
		}
	}
}

// TestStandardInput is read as a file is: a pipe twice where that is needed, a regular file from
// where it stands.
func TestStandardInput(t *testing.T) {
	said := js().open().say(0, "a", "\n", "").say(2, "b", "\n", "").say(0, "X", "\n", "").close(2, 4).String()
	want := []string{"4: session 8f3a-2c: the bytes at offset 0 to 2 were recorded before, and were others"}
	regular, err := os.Create(filepath.Join(t.TempDir(), "input"))
	if err == nil {
		_, err = regular.WriteString("passed over\n" + said)
	}
	if err == nil {
		_, err = regular.Seek(int64(len("passed over\n")), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	for name, in := range map[string]*os.File{"regular": regular, "pipe": piped(t, said), "packed pipe": piped(t, packed(said))} {
		files, err := Open([]string{"-", "-"}, true, in)
		if err != nil {
			t.Fatal(err)
		}
		var faults []string
		sum, err := files.Verify(t.Context(), VerifyOptions{Fault: func(f Finding) { faults = append(faults, strings.TrimPrefix(f.String(), "-:")) }})
		if err != nil || !match(faults, want) || sum.Messages != 2 || len(sum.Files) != 1 {
			t.Errorf("%s: got %+v, %q, %v, want %q", name, sum, faults, err, want)
		}
		if err := files.Close(); err != nil {
			t.Error(err)
		}
		if _, err := in.Stat(); err != nil {
			t.Errorf("%s: got %v, want it open still", name, err)
		}
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("got %v, %v in $TMPDIR, want nothing", left, err)
	}
	t.Setenv("TMPDIR", filepath.Join(temporary, "none"))
	files, err := Open([]string{"-"}, false, piped(t, said))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := files.Verify(t.Context(), VerifyOptions{}); err == nil || !strings.Contains(err.Error(), `keep it in "`+temporary+`/none" ($TMPDIR) for a second reading: `) {
		t.Errorf("got %v, want that it cannot be kept", err)
	}
}

// piped is the end of a pipe from which text can be read.
func piped(t *testing.T, text string) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	go func() {
		_, _ = w.WriteString(text) // if it fails, so does the test
		_ = w.Close()
	}()
	return r
}

// TestCatOfAPipeDoesNotWait for more before it writes what has come.
func TestCatOfAPipeDoesNotWait(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	shown, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer shown.Close()
	files, err := Open([]string{"-"}, false, r)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := files.Cat(ctx, out, Selection{}, func(f Finding) { t.Error(f) })
		ended <- err
	}()
	if _, err := w.WriteString(js().say(0, "hello", "\n", "").String()); err != nil {
		t.Fatal(err)
	}
	if err := shown.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, err := shown.Read(b); err != nil || string(b[:n]) != "hello\n" {
		t.Errorf("got %q, %v, want the message", b[:n], err)
	}
	why := errors.New("enough")
	cancel(why)
	if err := <-ended; !errors.Is(err, why) {
		t.Errorf("got %v, want %v though more may come", err, why)
	}
}
