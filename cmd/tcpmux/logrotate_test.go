package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/internal/await"
)

// TestLogrotateByTheSample runs logrotate with what contrib/ has for it, on this daemon, while a
// client talks on.
func TestLogrotateByTheSample(t *testing.T) {
	logrotate, err := exec.LookPath("logrotate")
	if err != nil {
		logrotate = "/usr/sbin/logrotate"
	}
	if _, err := os.Stat(logrotate); err != nil {
		lacks(t, err.Error(), "apt-get install logrotate")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { // logrotate wants no group that writes
		t.Fatal(err)
	}
	d, address := daemonOf(t, settings(t, dir, "127.0.0.1:0", "", `max_size = "1TiB"`+"\nmax_backups = 0\ncompress = false"))
	sample, err := os.ReadFile("../../contrib/logrotate/tcpmux")
	if err != nil {
		t.Fatal(err)
	}
	const path, signal = "/var/log/tcpmux/records.log", "systemctl kill --kill-whom=main --signal=USR1 tcpmux.service"
	if !bytes.Contains(sample, []byte(path)) || !bytes.Contains(sample, []byte(signal)) {
		t.Fatalf("got another sample than this test knows:\n%s", sample)
	}
	here := strings.NewReplacer(path, filepath.Join(dir, "records.log"), signal, fmt.Sprintf("kill -USR1 %d", d.cmd.Process.Pid)).Replace(string(sample))
	recipe := write(t, "logrotate", here)
	if err := os.Chmod(recipe, 0o644); err != nil {
		t.Fatal(err)
	}
	conn := greeted(t, address)
	records := filepath.Join(dir, "records.log")
	rotated := int64(0)
	for day := range 3 {
		say(t, conn, fmt.Sprintf("day %d\n", day))
		recorded(t, dir, fmt.Sprintf(": day %d\n", day))
		// Names tell the second, and the clock that logrotate reads is a tick of the kernel
		// behind this one.
		await.Until(t, func() bool { return time.Now().Add(-100*time.Millisecond).Unix() > rotated }, func() { t.Error("the clock stands still") })
		out, err := exec.Command(logrotate, "--force", "--state", filepath.Join(dir, "state"), recipe).CombinedOutput()
		rotated = time.Now().Unix()
		if err != nil || len(out) > 0 {
			t.Fatalf("logrotate: %v\n%s", err, out)
		}
		await.Until(t, func() bool { _, err := os.Stat(records); return err == nil }, func() { t.Error("got no new file after SIGUSR1") })
	}
	names, _ := filepath.Glob(filepath.Join(dir, "records-*.log*"))
	if len(names) != 3 || !strings.HasSuffix(names[0], ".log.gz") || !strings.HasSuffix(names[2], ".log") {
		t.Errorf("got %q, want two that are compressed, and then the last that was rotated", names)
	}
	if status, stdout, stderr := clitest.Outcome(t, tcpmux(t, "cat", "--backups", records)); status != 0 || stdout != "day 0\nday 1\nday 2\n" {
		t.Errorf("tcpmux cat: got %d, %q, %q, want all days in their order", status, stdout, stderr)
	}
}
