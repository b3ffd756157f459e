package clitest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is a pseudo terminal (pty(7)) with a program at it.
type Terminal struct {
	t      *testing.T
	master *os.File
	slave  *os.File     // kept open, so that its settings can be read when the program is gone
	Before unix.Termios // the settings with which the program started
	output chan []byte
	seen   []byte
	// Cmd is the program, which has been started.
	Cmd *exec.Cmd
}

// Start starts cmd at a terminal of its own. A standard input that cmd has already stays: then only
// its output is at the terminal.
func Start(t *testing.T, cmd *exec.Cmd) *Terminal {
	t.Helper()
	master, slave := OpenPTY(t)
	x := &Terminal{t: t, master: master, slave: slave, output: make(chan []byte, 100), Cmd: cmd}
	x.Before = x.Settings()
	x.Cmd.Stdout, x.Cmd.Stderr = slave, slave
	if x.Cmd.Stdin == nil {
		x.Cmd.Stdin = slave
		x.Cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}
	if err := x.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go x.read()
	return x
}

// OpenPTY opens a pseudo terminal, which the end of the test closes.
func OpenPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	var number int
	if err := Control(master, func(fd int) (err error) {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return master, slave
}

// Control calls f with the file's descriptor, which stays in the hands of Go's poller.
func Control(f *os.File, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var cerr error
	return errors.Join(raw.Control(func(fd uintptr) { cerr = call(int(fd)) }), cerr)
}

// Settings returns the settings of the terminal.
func (x *Terminal) Settings() unix.Termios {
	x.t.Helper()
	var settings unix.Termios
	if err := Control(x.slave, func(fd int) error {
		got, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil {
			settings = *got
		}
		return err
	}); err != nil {
		x.t.Fatal(err)
	}
	return settings
}

// read passes on what the program writes until the test closes the master.
func (x *Terminal) read() {
	defer close(x.output)
	for {
		buf := make([]byte, 4096)
		n, err := x.master.Read(buf)
		if err != nil {
			return
		}
		x.output <- buf[:n]
	}
}

// See waits for text beyond what has been seen before, and returns all that came up to it.
func (x *Terminal) See(text string) string {
	x.t.Helper()
	late := time.After(Patience)
	for {
		if i := bytes.Index(x.seen, []byte(text)); i >= 0 {
			before := string(x.seen[:i+len(text)])
			x.seen = x.seen[i+len(text):]
			return before
		}
		select {
		case p, ok := <-x.output:
			if !ok {
				x.t.Fatalf("got %q, want %q", x.seen, text)
			}
			x.seen = append(x.seen, p...)
		case <-late:
			x.t.Fatalf("got %q, want %q", x.seen, text)
		}
	}
}

// Key types keys.
func (x *Terminal) Key(keys string) {
	x.t.Helper()
	if _, err := io.WriteString(x.master, keys); err != nil {
		x.t.Fatal(err)
	}
}

// Ends waits for the program's end and compares its status and the terminal it leaves.
func (x *Terminal) Ends(status int) {
	x.t.Helper()
	_ = x.Cmd.Wait() // the status is compared below
	if got := x.Cmd.ProcessState.ExitCode(); got != status {
		x.t.Errorf("status: got %d, want %d", got, status)
	}
	if got := x.Settings(); got != x.Before {
		x.t.Errorf("terminal: got %+v, want %+v", got, x.Before)
	}
}

// Resize changes the size of the terminal, of which the kernel tells the program.
func (x *Terminal) Resize(width, height uint16) {
	x.t.Helper()
	if err := Control(x.slave, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height})
	}); err != nil {
		x.t.Fatal(err)
	}
}
