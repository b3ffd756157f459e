package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"tcpmux/internal/await"
)

// TestADaemonUsesWhatItsWorkFills: one processor, as long as it has little work, unless what serves
// clients or writes records may block a thread; then all, from the reload on that brings it.
func TestADaemonUsesWhatItsWorkFills(t *testing.T) {
	t.Parallel()
	all := int64(runtime.GOMAXPROCS(0))
	if all == 1 {
		t.Skip("with one processor there is nothing to choose")
	}
	for _, c := range []struct{ name, top, record string }{
		{"threads", `model = "thread"`, ""},
		{"processes", `model = "process"`, ""},
		{"programs", `exec = ["/bin/cat"]`, ""},
		{"each record on disk", "", `sync = "always"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			control := filepath.Join(dir, "control")
			top := fmt.Sprintf("control = %q\n", control)
			path := settings(t, dir, "127.0.0.1:0", top, "")
			d, _ := started(t, tcpmux(t, "run", "--config", path))
			uses := func(want int64) {
				t.Helper()
				var got int64
				await.Until(t, func() bool {
					got = total(scraped(t, control), "go_sched_gomaxprocs_threads", "")
					return got == want
				}, func() { t.Errorf("got %d processors, want %d: %s", got, want, d.seen) })
			}
			uses(1)
			text := fmt.Sprintf("address = \"127.0.0.1:0\"\n%s%s\n[record]\nfile = %q\n%s\n", top, c.top, filepath.Join(dir, "records.log"), c.record)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_ = d.cmd.Process.Signal(syscall.SIGHUP)
			uses(all)
		})
	}
}
