package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpmux/internal/await"
)

// withStdout starts a daemon whose records go to standard output, a pipe. It is closed elsewhere.
func withStdout(t *testing.T, config string) (d *dialogue, address string, in *os.File) {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	if err := in.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	cmd := tcpmux(t, "run", "--config", config)
	cmd.Stdout = out
	d, address = started(t, cmd)
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return d, address, in
}

// configured writes a configuration with that record file.
func configured(t *testing.T, path, file string) {
	t.Helper()
	text := fmt.Sprintf("address = \"127.0.0.1:0\"\ndrain_timeout = \"0s\"\n[record]\nfile = %q\nevents = false\n", file)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRecordsOnStandardOutput, after a reload in a file, and after another one and an upgrade on
// standard output again.
func TestRecordsOnStandardOutput(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "tcpmux.toml")
	configured(t, config, "-")
	d, address, in := withStdout(t, config)
	conn, records := greeted(t, address), bufio.NewReader(in)
	saysOnStdout := func(text string) {
		t.Helper()
		say(t, conn, text)
		if line, err := records.ReadString('\n'); err != nil || !strings.HasSuffix(line, ": "+text) {
			t.Fatalf("got %q, %v on standard output, want %q", line, err, text)
		}
	}
	reload := func(file string) {
		t.Helper()
		configured(t, config, file)
		d.seen = ""
		signalled(t, d, syscall.SIGHUP)
		d.hear("msg=\"configuration reloaded\"")
	}
	saysOnStdout("one\n")
	reload(filepath.Join(dir, "records.log"))
	say(t, conn, "two\n")
	recorded(t, dir, ": two\n")
	reload("-")
	saysOnStdout("three\n")
	signalled(t, d, syscall.SIGUSR2)
	d.hear("msg=\"goes on with the clients of the process before\"")
	saysOnStdout("four\n")
}

// TestAReaderThatGoesAway holds up clients, and does not end the daemon.
func TestAReaderThatGoesAway(t *testing.T) {
	config := filepath.Join(t.TempDir(), "tcpmux.toml")
	configured(t, config, "-")
	d, address, in := withStdout(t, config)
	conn := greeted(t, address)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	say(t, conn, "one\n")
	d.hear("records cannot be written, clients wait\" err=\"write standard output: broken pipe (its reader has ended)\"")
	greeted(t, address) // the daemon lives
}

// TestFilesAreRotatedByTime without traffic, those of listeners and the log too.
func TestFilesAreRotatedByTime(t *testing.T) {
	dir := t.TempDir()
	files := []string{"records.log", "own.log", "log.log"}
	for _, name := range files {
		path, old := filepath.Join(dir, name), time.Now().Add(-48*time.Hour)
		if err := os.WriteFile(path, []byte("2026-01-01T00:00:00.000000Z from [::1]:1: old\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	config := write(t, "tcpmux.toml", fmt.Sprintf(`address = "127.0.0.1:0"
[record]
file = %q
rotate = "daily"
compress = false
[log]
file = %q
[[listener]]
name = "own"
address = "127.0.0.1:0"
file = %q
`, filepath.Join(dir, "records.log"), filepath.Join(dir, "log.log"), filepath.Join(dir, "own.log")))
	cmd := tcpmux(t, "run", "--config", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for _, name := range files {
		var rotated []string
		await.Until(t, func() bool {
			rotated, _ = filepath.Glob(filepath.Join(dir, strings.Replace(name, ".log", "-*.log", 1)))
			return len(rotated) == 1
		}, func() { t.Errorf("%s: got %q rotated, want one file", name, rotated) })
	}
}

// signalled sends a signal to the daemon.
func signalled(t *testing.T, d *dialogue, signal syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}
