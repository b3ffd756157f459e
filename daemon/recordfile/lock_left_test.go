package recordfile

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// leaveLock names the record file whose lock TestLeavingALock takes and leaves to a process that it
// has started.
const leaveLock = "TCPMUX_TEST_LEAVE_LOCK"

// TestLeavingALock is a daemon that dies while it starts a process, for the test below.
func TestLeavingALock(t *testing.T) {
	path := os.Getenv(leaveLock)
	if path == "" {
		return
	}
	l, err := lockBeside(path)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "1000")
	cmd.ExtraFiles = []*os.File{l.file}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("left to %d\n", cmd.Process.Pid)
	os.Exit(0)
}

// TestALockThatADeadDaemonHasLeftIsWaitedFor: it becomes free in a moment.
func TestALockThatADeadDaemonHasLeftIsWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	cmd := exec.Command(os.Args[0], "-test.run=^TestLeavingALock$")
	cmd.Env = append(os.Environ(), leaveLock+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	holder, _ := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "left to ")))
	if err != nil || holder == 0 {
		t.Fatalf("got %q and %v, want the process that has the lock", line, err)
	}
	end := func() { _ = unix.Kill(holder, unix.SIGKILL) } // it may be dead already
	defer end()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	taken := make(chan error, 1)
	go func() {
		l, err := lockBeside(path)
		if err == nil {
			err = l.release()
		}
		taken <- err
	}()
	select {
	case err := <-taken:
		t.Fatalf("got %v at once, want it waited for", err)
	case <-time.After(100 * time.Millisecond): // a chance to fail
	}
	end()
	if err := <-taken; err != nil {
		t.Errorf("got %v, want the lock", err)
	}
}
