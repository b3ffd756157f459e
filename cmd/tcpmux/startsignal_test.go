package main

import (
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ownSignals are those that ask the daemon for something.
var ownSignals = []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2}

// startUntil starts the daemon and has it stopped when its first thread has entered or left so many
// system calls; at 0 it has not done anything. It returns false when the start is over before.
func startUntil(t *testing.T, config string, stops int) (d *dialogue, stopped bool) {
	t.Helper()
	cmd := tcpmux(t, "run", "--config", config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	d = converse(t, cmd, cmd.StderrPipe)
	for n := 0; ; n++ {
		s, stopped := d.awaitStop()
		if n == stops || !stopped {
			return d, stopped
		}
		if s == syscall.SIGTRAP {
			s = 0 // the tracer's
		}
		if err := syscall.PtraceSyscall(cmd.Process.Pid, int(s)); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitStop waits until a tracer's child is stopped, by which signal; it returns false when the
// daemon is ready before.
func (d *dialogue) awaitStop() (s syscall.Signal, stopped bool) {
	d.t.Helper()
	// It looks often, as the daemon makes thousands of system calls before it is ready.
	for late := time.Now().Add(patience); ; time.Sleep(100 * time.Microsecond) {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(d.cmd.Process.Pid, &status, syscall.WNOHANG, nil)
		if pid != 0 && err != syscall.EINTR {
			if !status.Stopped() {
				d.t.Fatalf("got %v, %v, want the daemon stopped", status, err)
			}
			return status.StopSignal(), true
		}
		select {
		case text := <-d.said:
			d.seen += text
		default:
		}
		if strings.Contains(d.seen, "msg=ready ") {
			return 0, false
		}
		if time.Now().After(late) {
			d.t.Fatalf("got %q, want it ready", d.seen)
		}
	}
}

// unwatched has the daemon go on without a tracer. It may be gone: its other threads are not
// stopped.
func (d *dialogue) unwatched() {
	d.t.Helper()
	if err := syscall.PtraceDetach(d.cmd.Process.Pid); err != nil && err != syscall.ESRCH {
		d.t.Fatal(err)
	}
}

// obeyed checks that the daemon does what the signal asks for: it drains, now or at the end.
func (d *dialogue) obeyed(s syscall.Signal) {
	d.t.Helper()
	if s != syscall.SIGINT && s != syscall.SIGTERM {
		d.hear("msg=ready ")
		if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			d.t.Error(err)
		}
	}
	if status := d.ends(); status != 0 || !strings.Contains(d.seen, "msg=drained") {
		d.t.Errorf("got %v and %q, want it drained", d.cmd.ProcessState, d.seen)
	}
}

// obeysFrom sends the signal to a daemon that starts, at every so many stops from the given one on,
// each time to another daemon.
func obeysFrom(t *testing.T, s syscall.Signal, from, step int) {
	t.Helper()
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	config := settings(t, t.TempDir(), "127.0.0.1:0", "", "")
	for stops := from; ; stops += step {
		d, stopped := startUntil(t, config, stops)
		if !stopped {
			if stops < from+100 {
				t.Errorf("ready after %d stops, want a start with more", stops)
			}
			return
		}
		if err := d.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		d.unwatched()
		d.obeyed(s)
		if t.Failed() {
			t.Fatalf("at stop %d", stops)
		}
	}
}

// TestNoSignalEndsTheStart: from its entry point on, wherever in the start a signal comes.
func TestNoSignalEndsTheStart(t *testing.T) {
	const entryPoint = 2 * 7 // its system calls
	step := 23
	if testing.Short() {
		step *= 5
	}
	for _, s := range ownSignals {
		t.Run(unix.SignalName(s), func(t *testing.T) {
			t.Parallel()
			obeysFrom(t, s, entryPoint, step)
		})
	}
}

// TestNoSignalEndsTheNextProgram, wherever in its start a signal comes: it has the signals as
// signals.Exec leaves them.
func TestNoSignalEndsTheNextProgram(t *testing.T) {
	const inside = "TCPMUX_TEST_INSIDE"
	if os.Getenv(inside) == "" {
		t.Parallel()
		// A Go program cannot take signal.Ignore back, and what later tests start would
		// inherit it: a process of its own does it.
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoSignalEndsTheNextProgram$")
		cmd.Env = append(os.Environ(), inside+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	for _, s := range ownSignals {
		t.Run(unix.SignalName(s), func(t *testing.T) {
			t.Parallel()
			runtime.LockOSThread() // a mask is a thread's
			defer runtime.UnlockOSThread()
			var held, before unix.Sigset_t
			for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
				held.Val[0] |= 1 << (s - 1)
			}
			if err := unix.PthreadSigmask(unix.SIG_BLOCK, &held, &before); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }()
			obeysFrom(t, s, 0, 23)
		})
	}
}
