//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// localClient is a program of the machine, such as nc, that a user of the machine has started, and
// what it sends to the server comes from here. One goroutine at a time sends.
type localClient struct {
	t    *testing.T
	name string
	pid  string // as the rig numbers it
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	errs bytes.Buffer
	said strings.Builder
}

// as returns a command that a user runs with his own groups.
func as(user string, args ...string) []string {
	return append([]string{"setpriv", "--reuid", user, "--regid", user, "--init-groups"}, args...)
}

// start starts a program as a user.
func (r *rig) start(user string, args ...string) *localClient {
	r.t.Helper()
	args = append([]string{"run", r.name}, as(user, append([]string{"sh", "-c", `echo $$; exec "$@"`, "sh"}, args...)...)...)
	k := &localClient{t: r.t, name: user, cmd: exec.Command("./boot.sh", args...)}
	k.cmd.Stderr = &k.errs
	in, err := k.cmd.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := errors.Join(out.(*os.File).SetReadDeadline(time.Now().Add(5*patience)), k.cmd.Start()); err != nil {
		r.t.Fatal(err)
	}
	k.in, k.out = in, bufio.NewReader(out)
	k.pid = strings.TrimSpace(k.line())
	return k
}

// line returns the next line that the program writes; what there is of it at the end.
func (k *localClient) line() string {
	k.t.Helper()
	line, err := k.out.ReadString('\n')
	if err != nil && err != io.EOF {
		k.t.Fatalf("%s: got %q, %v, want a line", k.name, line, err)
	}
	return line
}

// hear fails unless the program's next line is want.
func (k *localClient) hear(want string) {
	k.t.Helper()
	if got := k.line(); got != want {
		_ = k.in.Close()
		_ = k.cmd.Wait() // it may have said why
		k.t.Fatalf("%s: got %q, and the errors %q, want %q", k.name, got, k.errs.String(), want)
	}
}

// say sends text.
func (k *localClient) say(text string) error {
	if _, err := io.WriteString(k.in, text); err != nil {
		return fmt.Errorf("%s: %w", k.name, err)
	}
	k.said.WriteString(text)
	return nil
}

// bye ends the program's input, and returns what it still writes, once it has ended.
func (k *localClient) bye() string {
	k.t.Helper()
	err := k.in.Close()
	rest, readErr := io.ReadAll(k.out)
	if err := errors.Join(err, readErr, k.cmd.Wait()); err != nil || k.errs.Len() > 0 {
		k.t.Errorf("%s: got the end of its program %v, and %q, want it in good order", k.name, err, k.errs.String())
	}
	return string(rest)
}

// chat has clients send numbered lines, in two pieces each, all the time. They end what they have
// begun when stop is called, which returns their errors.
func chat(clients ...*localClient) (stop func() error) {
	over := make(chan struct{})
	errs := make([]error, len(clients))
	var talking sync.WaitGroup
	for i, k := range clients {
		talking.Go(func() {
			for n := 1; errs[i] == nil; n++ {
				select {
				case <-over:
					return
				case <-time.After(3 * time.Millisecond):
					errs[i] = errors.Join(k.say(fmt.Sprintf("%s %d ", k.name, n)), k.say(strings.Repeat("x", n%50)+"\n"))
				}
			}
		})
	}
	return func() error {
		close(over)
		talking.Wait()
		return errors.Join(errs...)
	}
}

// piped runs a command in the machine whose input is text, and returns its output and errors.
func (r *rig) piped(text string, args ...string) (string, error) {
	cmd := exec.Command("./boot.sh", append([]string{"run", r.name}, args...)...)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
