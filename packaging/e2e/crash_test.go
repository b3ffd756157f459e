//go:build e2e

package e2e

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// crashing is a daemon that crashes when a client sends these words
// (daemon/session/crash_crashtest.go).
const (
	crashing   = "../../build/e2e/crashing"
	crashWords = "crash the daemon, please"
)

// TestACrashingClientIsDropped as a suspect when three processes have died over its words. All
// other clients stay, although they are goroutines or threads of the process that dies.
func TestACrashingClientIsDropped(t *testing.T)          { dropsSuspect(t, "goroutine") }
func TestACrashingClientOfAThreadIsDropped(t *testing.T) { dropsSuspect(t, "thread") }

func dropsSuspect(t *testing.T, model string) {
	r := jsonRecords(t, `model = "goroutine"`, `model = "`+model+`"`)
	// It crashes as soon as it reads the words, which may be before it is ready.
	r.explain(`Failed to start tcpmux`)
	r.crashable()
	r.throng.join(100)
	r.throng.settled()
	r.throng.talk(100 * time.Millisecond)
	culprit := r.throng.join(1)[0]
	r.throng.members = r.throng.members[:100]
	r.throng.settled()
	for _, text := range []string{"fine\n", crashWords + "\n"} {
		if err := culprit.say(text); err != nil {
			t.Fatal(err)
		}
		r.await("its first line in the records", func() bool { return strings.Contains(r.read(records), `"data":"fine"`) })
	}
	// The connection may be reset, as the client's last bytes are not read.
	if rest, _ := io.ReadAll(culprit.conn); len(rest) > 0 {
		t.Errorf("the suspect: got %q, want the end", rest)
	}
	r.awaitProperty("tcpmux.service", "SubState", "running")
	if got := r.show("tcpmux.service", "NRestarts"); got != "3" {
		t.Errorf("crashes: got %s, want 3", got)
	}
	r.throng.hush()
	h := r.throng.read(records)[culprit.conn.LocalAddr().String()]
	if h == nil || h.stream.String() != "fine\n" || h.opens != 1 || h.closes != 1 || h.last.Reason != "suspect" || h.last.Records != 1 {
		t.Errorf("the suspect: got %+v, want one record and its end as a suspect", h)
	}
}

// crashable replaces the package's daemon by one that clients can crash.
func (r *rig) crashable() {
	r.t.Helper()
	b, err := os.ReadFile(crashing)
	if err != nil {
		r.t.Fatalf("%v (make e2e makes it)", err)
	}
	const daemon = "/usr/bin/tcpmux"
	for what, has := range map[string]bool{string(b): true, r.read(daemon): false} {
		if strings.Contains(what, crashWords) != has {
			r.t.Fatalf("a daemon of %d bytes: got the words that crash it: %v, want %v", len(what), !has, has)
		}
	}
	r.write(daemon, string(b))
}
