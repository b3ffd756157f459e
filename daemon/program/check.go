package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
)

// CheckAll reports every listener whose program cannot be started, or could not be stopped. Its
// error wraps config.ErrInvalid. It takes milliseconds for each program.
func CheckAll(listeners []config.Listener) error {
	var all []error
	for _, c := range listeners {
		if err := Check(c); err != nil {
			all = append(all, fmt.Errorf("%w: listener %q: %w", config.ErrInvalid, c.Name, err))
		}
	}
	return errors.Join(all...)
}

// Check reports why the program of a listener cannot be started, or could not be stopped; nil when
// it can, or when the listener runs none. The program itself is not executed.
func Check(c config.Listener) error {
	s := NewSpec(c)
	if s == nil {
		return nil
	}
	if s.err != nil {
		return s.err
	}
	return s.probe(c.ExecUser)
}

// probeTimeout bounds a probe.
const probeTimeout = 30 * time.Second

// probe starts this executable as the program's user: the process finds out whether it may execute
// the program, and the daemon whether it may kill the process.
func (s *Spec) probe(as string) error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	runtime.LockOSThread() // the process stays a child of this thread
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, selfExe)
	cmd.Args, cmd.Dir, cmd.Env = []string{ExecName, probeWord, s.program}, "/", []string{pathVariable}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: s.credential}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("exec_user %q: %w%s", as, causeOf(err), userHint)
	}
	killErr := unix.Kill(cmd.Process.Pid, 0)
	_ = stdin.Close() // this ends the process
	err = cmd.Wait()
	switch {
	case killErr != nil:
		return fmt.Errorf("exec_user %q: its programs could not be stopped: %w%s", as, killErr, userHint)
	case err != nil && stderr.Len() > 0:
		return fmt.Errorf("exec %q: %s (user %q must be able to execute it, and to enter the directories above it)",
			s.program, bytes.TrimSpace(stderr.Bytes()), userOr(as))
	}
	return err
}

// userHint names the next step when the daemon may not act for the program's user.
const userHint = " (the daemon may not act for another user; the packaged unit takes that from it, and the drop-in" +
	" /usr/share/tcpmux/exec-user.conf gives it back: install -D -m 0644 -t /etc/systemd/system/tcpmux.service.d" +
	" /usr/share/tcpmux/exec-user.conf, then systemctl daemon-reload && systemctl restart tcpmux)"

// causeOf takes the operation and path off an error: the path is this executable's, which would
// mislead.
func causeOf(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}

// userOr returns the configured user of a program, or else the daemon's own.
func userOr(configured string) string {
	if configured != "" {
		return configured
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Geteuid())
}
