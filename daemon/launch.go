package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
)

// programPath is the PATH of programs: systemd's own for services.
const programPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// selfExe is the program that is running, whatever has become of its file.
const selfExe = "/proc/self/exe"

// launch is how the programs of a listener are started: always directly, never by a shell.
type launch struct {
	program    string // as configured
	path       string // what is executed: the program, or ourselves as its starter
	argv       []string
	credential *syscall.Credential // nil: the daemon's own
	env        []string            // what all clients have in common
	err        error               // why they cannot be started
}

// newLaunch looks up what the programs of a listener need; nil when it has none.
func newLaunch(c config.Listener) *launch {
	if len(c.Exec) == 0 {
		return nil
	}
	l := &launch{program: c.Exec[0], path: c.Exec[0], argv: c.Exec, env: []string{programPath}}
	if c.ExecMemory > 0 || hasPowers() {
		l.path = selfExe
		l.argv = slices.Concat([]string{StarterName, strconv.FormatInt(c.ExecMemory, 10)}, c.Exec)
	}
	if c.ExecUser == "" {
		return l
	}
	if err := l.become(c.ExecUser); err != nil {
		l.err = fmt.Errorf("exec_user %q: %w", c.ExecUser, err)
	}
	return l
}

// become makes the programs those of a user, with its groups.
func (l *launch) become(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	list, err := u.GroupIds()
	if err != nil {
		return err
	}
	var ids [2]uint32
	groups := make([]uint32, len(list))
	for i, id := range slices.Concat([]string{u.Uid, u.Gid}, list) {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return err
		}
		if i < len(ids) {
			ids[i] = uint32(n)
		} else {
			groups[i-len(ids)] = uint32(n)
		}
	}
	l.env = append(l.env, "HOME="+u.HomeDir, "LOGNAME="+name, "USER="+name)
	if int(ids[0]) != os.Geteuid() { // else there is nothing to change, nor the right to
		l.credential = &syscall.Credential{Uid: ids[0], Gid: ids[1], Groups: groups}
	}
	return nil
}

// environ is the environment of a session's program: that of tcpserver(1), and what tcpmux calls the session.
func (l *launch) environ(s *session) []string {
	local := s.local()
	remote, _ := netip.ParseAddrPort(s.source.Remote) // we have written it ourselves
	return append(slices.Clip(l.env),
		"PROTO=TCP",
		"TCPLOCALIP="+local.Addr().String(),
		"TCPLOCALPORT="+strconv.Itoa(int(local.Port())),
		"TCPREMOTEIP="+remote.Addr().String(),
		"TCPREMOTEPORT="+strconv.Itoa(int(remote.Port())),
		"TCPMUX_LISTENER="+s.source.Listener,
		"TCPMUX_SESSION="+s.source.Session)
}

// keepDescriptors keeps from programs what whoever started us left open; what we open ourselves is not passed on in any case.
func keepDescriptors() {
	_ = unix.CloseRange(3, math.MaxUint, unix.CLOSE_RANGE_CLOEXEC) // before Linux 5.11 they have it
}

// hasPowers says whether we have capabilities that a program started by us would have too, because they are ambient
// (capabilities(7)). Those of root are another matter: its programs have them for being root's.
var hasPowers = sync.OnceValue(func() bool {
	status, err := os.ReadFile("/proc/self/status")
	_, after, found := bytes.Cut(status, []byte("\nCapAmb:\t"))
	return err != nil || found && !bytes.HasPrefix(after, []byte("0000000000000000\n"))
})

// checkPrograms finds out whether the programs of the listeners can be started, and stopped. Its error is config.ErrInvalid.
func checkPrograms(listeners []config.Listener) error {
	var all []error
	for _, c := range listeners {
		if err := checkProgram(c); err != nil {
			all = append(all, fmt.Errorf("%w: listener %q: %w", config.ErrInvalid, c.Name, err))
		}
	}
	return errors.Join(all...)
}

// checkProgram finds out whether the program of a listener, if it has one, can be started, and stopped.
func checkProgram(c config.Listener) error {
	l := newLaunch(c)
	if l == nil {
		return nil
	}
	if l.err != nil {
		return l.err
	}
	return l.probe(c.ExecUser)
}

// probeTime is how long a probe may take.
const probeTime = 30 * time.Second

// probe has ourselves, as the program's user, look whether it may execute the program, and looks whether it can be killed.
func (l *launch) probe(as string) error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	runtime.LockOSThread() // it stays our child
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, selfExe)
	cmd.Args, cmd.Dir, cmd.Env = []string{StarterName, probeWord, l.program}, "/", []string{programPath}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: l.credential}
	var says bytes.Buffer
	cmd.Stderr = &says
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("exec_user %q: %w%s", as, cause(err), powerHint)
	}
	killed := unix.Kill(cmd.Process.Pid, 0)
	_ = stdin.Close() // by which it ends
	err = cmd.Wait()
	switch {
	case killed != nil:
		return fmt.Errorf("exec_user %q: its programs could not be stopped: %w%s", as, killed, powerHint)
	case err != nil && says.Len() > 0:
		return fmt.Errorf("exec %q: %s (user %q must be able to execute it, and to enter the directories above it)",
			l.program, bytes.TrimSpace(says.Bytes()), userOf(as))
	}
	return err
}

// powerHint names the next step when the daemon may not start programs as somebody else.
const powerHint = " (the daemon may not act for another user; the packaged unit takes that from it, and the drop-in" +
	" /usr/share/tcpmux/exec-user.conf gives it back: install -D -m 0644 -t /etc/systemd/system/tcpmux.service.d" +
	" /usr/share/tcpmux/exec-user.conf, then systemctl daemon-reload && systemctl restart tcpmux)"

// userOf is the user of a program; the daemon's own where the configuration names none.
func userOf(configured string) string {
	if configured != "" {
		return configured
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Geteuid())
}
