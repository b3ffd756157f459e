//go:build ktlsguest

package guest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/control/client"
)

// manager is a service manager that keeps the listening sockets, and what daemon after daemon has
// stored for the next (sd_notify(3), FDSTORE=1), as systemd does with FileDescriptorStoreMax=.
type manager struct {
	t              *testing.T
	notify, config string
	log            *os.File // what all daemons have said
	sockets        []stored
	daemon         *exec.Cmd
	ended          chan struct{} // closed when the daemon has ended
	starting       time.Duration // how long the last one took until it was ready

	mu      sync.Mutex
	kept    []stored
	ready   int // how often a daemon was
	removed int // how often a daemon had something removed
}

type stored struct {
	name string
	file *os.File
}

// newManager returns one for daemons of a configuration file that does not exist yet.
func newManager(t *testing.T) *manager {
	t.Helper()
	dir := t.TempDir()
	m := &manager{t: t, notify: filepath.Join(dir, "notify"), config: filepath.Join(dir, "tcpmux.toml")}
	var err error
	if m.log, err = os.Create(filepath.Join(dir, "daemon.log")); err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	go m.listen(conn)
	t.Cleanup(func() {
		if m.daemon != nil {
			m.kill()
		}
		_ = conn.Close()
		m.keep("", nil)
		if text := m.said(); t.Failed() {
			t.Logf("the daemons: %s", text[max(0, len(text)-6000):])
		}
	})
	return m
}

// said returns what all daemons have said.
func (m *manager) said() string {
	text, err := os.ReadFile(m.log.Name())
	if err != nil {
		m.t.Error(err)
	}
	return string(text)
}

// socket keeps the listening socket of a listener, whose address it returns.
func (m *manager) socket(listener string) (address string) {
	m.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		m.t.Fatal(err)
	}
	defer ln.Close()
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = file.Close() })
	m.sockets = append(m.sockets, stored{listener, file})
	return ln.Addr().String()
}

// listen takes what daemons say, and what comes with it.
func (m *manager) listen(conn *net.UnixConn) {
	const mostFDs = 253 // in one message (unix(7), SCM_RIGHTS)
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4*mostFDs))
	for {
		n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
		if err != nil {
			return
		}
		files := received(oob[:oobn])
		lines := strings.Split(string(buf[:n]), "\n")
		if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "FDNAME=") }); i >= 0 {
			name := strings.TrimPrefix(lines[i], "FDNAME=")
			if slices.Contains(lines, "FDSTOREREMOVE=1") {
				m.keep(name, nil)
			} else {
				m.keep(name, files)
				files = nil
			}
		}
		for _, f := range files {
			_ = f.Close() // that is the answer to BARRIER=1
		}
		if slices.Contains(lines, "READY=1") {
			m.mu.Lock()
			m.ready++
			m.mu.Unlock()
		}
	}
}

// received returns the descriptors in a control message.
func received(oob []byte) (files []*os.File) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, msg := range msgs {
		fds, _ := unix.ParseUnixRights(&msg) // else it has none
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "stored"))
		}
	}
	return files
}

// keep adds files under a name; without files it lets go of what it has under the name, "" being
// every name.
func (m *manager) keep(name string, files []*os.File) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range files {
		m.kept = append(m.kept, stored{name, f})
	}
	if files != nil {
		return
	}
	m.removed++
	m.kept = slices.DeleteFunc(m.kept, func(s stored) bool {
		gone := name == "" || s.name == name
		if gone {
			_ = s.file.Close() // nothing was written
		}
		return gone
	})
}

// count returns a number that grows with what daemons say.
func (m *manager) count(of *int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *of
}

// start starts the next daemon. The function that it returns waits until that is ready.
func (m *manager) start() (ready func()) {
	m.t.Helper()
	m.mu.Lock()
	var names []string
	var files []*os.File
	for _, s := range slices.Concat(m.sockets, m.kept) {
		names, files = append(names, s.name), append(files, s.file)
	}
	before := m.ready
	m.mu.Unlock()
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec tcpmux run --config "$0"`, m.config)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.notify,
		fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = files, m.log, m.log
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	began, ended := time.Now(), make(chan struct{})
	m.daemon, m.ended = cmd, ended
	go func() {
		_ = cmd.Wait() // its status is looked at where it matters
		close(ended)
	}()
	return func() {
		m.t.Helper()
		m.isReady(before)
		m.starting = time.Since(began)
	}
}

// isReady waits until a daemon has been ready more than so often.
func (m *manager) isReady(before int) {
	m.t.Helper()
	until(m.t, "the daemon is ready", func() bool {
		select {
		case <-m.ended:
			m.t.Fatalf("the daemon has ended: %v", m.daemon.ProcessState)
		default:
		}
		return m.count(&m.ready) > before
	})
}

// kill ends the daemon by SIGKILL, and returns in the moment in which a service manager would know.
func (m *manager) kill() {
	_ = m.daemon.Process.Kill()
	<-m.ended
}

// ends has the daemon end by itself, for a stop (SIGTERM) or for a restart (SIGINT).
func (m *manager) ends(by syscall.Signal) {
	m.t.Helper()
	if err := m.daemon.Process.Signal(by); err != nil {
		m.t.Fatal(err)
	}
	select {
	case <-m.ended:
	case <-time.After(patience):
		_ = m.daemon.Process.Signal(syscall.SIGQUIT) // it shows what it is waiting for
		<-m.ended
	}
	if state := m.daemon.ProcessState; !state.Success() {
		m.t.Fatalf("the daemon at %v: got %v, want success", by, state)
	}
}

// asks runs a command that asks the daemon, and returns what it prints.
func (m *manager) asks(control string, words ...string) string {
	m.t.Helper()
	var out []byte
	until(m.t, fmt.Sprintf("tcpmux %v", words), func() (answered bool) {
		var err error
		out, err = exec.Command("tcpmux", append(words, "--control", control)...).CombinedOutput()
		switch late := strings.Contains(string(out), "does not answer"); {
		case err == nil:
			return true
		case !late: // a command waits for some seconds, which are few here
			m.t.Fatalf("tcpmux %v: %v\n%s", words, err, out)
		}
		return false
	})
	return string(out)
}

// status waits until the daemon's status is as it should be.
func (m *manager) status(control, what string, is func(s api.Status) bool) {
	m.t.Helper()
	c := client.Dial(control)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	until(m.t, what, func() bool {
		s, err := c.Status(ctx)
		return err == nil && is(s) // an error is that it takes too long, here
	})
}

// pause is how long a look waits for the next one: each takes an emulated processor long.
const pause = 10 * time.Millisecond

// until waits until holds returns true.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(pause) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
