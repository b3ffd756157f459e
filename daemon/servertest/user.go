package servertest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tcpmux/config"
)

// userVariable holds the path that the client process is to connect to.
const userVariable = "TCPMUX_TEST_CONNECT"

// UnixSocket returns a change that has the first listener listen at a unix socket, to which
// everybody may connect, and its path.
func UnixSocket(t *testing.T) (change func(*config.Config), path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "tcpmux-unix") // t.TempDir lets no other user in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "s")
	return func(cfg *config.Config) {
		cfg.Listeners[0].Address, cfg.Listeners[0].Mode = []string{config.UnixScheme + path}, 0o666
	}, path
}

// User is a client of a unix socket: a process of a user.
type User struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// ConnectAs has a process of a user connect to the unix socket at path. It is ended with the test.
// Where the test cannot have processes of other users it is skipped, or, in CI, fails.
func ConnectAs(t *testing.T, path string, uid, gid uint32) *User {
	t.Helper()
	// By this name others may execute it, wherever it is.
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{userVariable + "=" + path}
	cmd.Stderr = os.Stderr
	if uid != uint32(os.Getuid()) || gid != uint32(os.Getgid()) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	}
	in, ierr := cmd.StdinPipe()
	out, oerr := cmd.StdoutPipe()
	if err := errors.Join(ierr, oerr); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); errors.Is(err, syscall.EPERM) {
		needRoot(t, err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	return &User{t, cmd, in, bufio.NewReader(out)}
}

// needRoot fails in CI, and skips the test elsewhere.
func needRoot(t *testing.T, err error) {
	t.Helper()
	const how = "clients of other users need root: run the tests as root"
	if os.Getenv("CI") != "" {
		t.Fatalf("%v: %s", err, how)
	}
	t.Skipf("%v: %s", err, how)
}

// Who returns the beginning of the client's name in records, up to the number of the socket.
func (u *User) Who() string {
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	if a := u.cmd.SysProcAttr; a != nil {
		uid, gid = a.Credential.Uid, a.Credential.Gid
	}
	return fmt.Sprintf("uid=%d,gid=%d,pid=%d,socket=", uid, gid, u.cmd.Process.Pid)
}

// Say sends text.
func (u *User) Say(text string) {
	u.t.Helper()
	if _, err := io.WriteString(u.in, text); err != nil {
		u.t.Fatalf("say %.40q: %v", text, err)
	}
}

// Hear takes what is sent to the client, which has to be text.
func (u *User) Hear(text string) {
	u.t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(u.out, got); err != nil || string(got) != text {
		u.t.Fatalf("heard %.80q and %v, want %.80q", got[:n], err, text)
	}
}

// HearLine takes and returns a line that is sent to the client.
func (u *User) HearLine() string {
	u.t.Helper()
	line, err := u.out.ReadString('\n')
	if err != nil {
		u.t.Fatalf("heard %.80q and %v, want a line", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// Finish ends what the client sends, and returns what it is sent until the end of the stream.
func (u *User) Finish() string {
	u.t.Helper()
	_ = u.in.Close() // it may have ended
	rest, err := io.ReadAll(u.out)
	if err != nil {
		u.t.Errorf("heard %.80q and %v, want the end of the stream", rest, err)
	}
	return string(rest)
}

// connectUser is the process of a User.
func connectUser(path string) int {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	go func() {
		_, _ = io.Copy(conn, os.Stdin) // the other direction tells
		_ = conn.CloseWrite()
	}()
	_, _ = io.Copy(os.Stdout, conn) // a reset is an end
	return 0
}
