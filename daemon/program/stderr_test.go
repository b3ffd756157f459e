package program_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tcpmux/daemon/program"
	"tcpmux/daemon/servertest"
)

func TestProgramsStandardErrorIsLogged(t *testing.T) {
	f := servertest.New(t, shell(`printf 'one\r\n\033]0;x\007 level=ERROR msg=forged\nlast' >&2;
		head -c 5000 /dev/zero | tr '\0' x >&2; echo >&2`)).Open()
	c := f.Client()
	c.HearEnd()
	awaitClose(f, c, "exit 0")
	line := f.Log.Line("program stderr")
	for _, want := range []string{"listener=tcpmux", "remote=" + c.Addr(), "session=", "line=one"} {
		if !strings.Contains(line, want) {
			t.Errorf("got %q, want %q in it", line, want)
		}
	}
	log := f.Log.Await(t, `line="\x1b]0;x\a level=ERROR msg=forged"`, "line=lastx", "session closed")
	if strings.ContainsRune(log, 0x1b) {
		t.Errorf("got %q, want no escape in it", log)
	}
	if got, want := strings.Count(log, "x"), 5000; got < want {
		t.Errorf("a long line: got %d of its %d bytes", got, want)
	}
	for l := range strings.Lines(log) {
		if len(l) > program.StderrLine+400 {
			t.Errorf("got a line of %d bytes, want at most %d and what stands around it", len(l), program.StderrLine)
		}
	}
}

// TestProgramCannotFloodTheLog: lines beyond the limit are counted.
func TestProgramCannotFloodTheLog(t *testing.T) {
	const lines = 20_000
	f := servertest.New(t, shell(fmt.Sprintf(`seq %d >&2`, lines))).Open()
	c := f.Client()
	c.HearEnd()
	awaitClose(f, c, "exit 0")
	log := f.Log.Await(t, "session closed")
	if last := slices.Collect(strings.Lines(log)); !strings.Contains(last[len(last)-1], "session closed") {
		t.Errorf("got %q behind the end of the session", last[len(last)-1])
	}
	logged, skipped := strings.Count(log, "program stderr\""), 0
	for _, m := range regexp.MustCompile(`left out" .* lines=(\d+)`).FindAllStringSubmatch(log, -1) {
		n, _ := strconv.Atoi(m[1])
		skipped += n
	}
	if logged+skipped != lines || logged < program.StderrBurst || skipped == 0 {
		t.Errorf("got %d lines in the log and %d left out, want %d in all, and %d logged at least",
			logged, skipped, lines, program.StderrBurst)
	}
}
