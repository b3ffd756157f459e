package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
)

// contestant is a way of serving that is compared with others.
type contestant struct {
	name string
	// command starts it on a free port of 127.0.0.1, in a directory of its own.
	command func(port int, dir string, clients int) (*exec.Cmd, error)
	// oneByOne: it serves one client at a time, so no crowd.
	oneByOne bool
	// nudged: it lets go of a client only when the next one comes.
	nudged bool
}

// contestants are the models that this program's configuration takes, and the reference programs that are in the directory.
func contestants(program, reference string) (list []contestant, missing []string) {
	for _, model := range models() {
		list = append(list, contestant{name: "tcpmux " + model, command: tcpmux(program, model)})
	}
	for _, r := range []contestant{{name: "process", nudged: true}, {name: "thread"}, {name: "coroutine", oneByOne: true}} {
		script := filepath.Join(reference, "server_"+r.name+".py")
		command, err := python(script)
		if err != nil {
			missing = append(missing, fmt.Sprintf("reference %s: %v", r.name, err))
			continue
		}
		r.name, r.command = "reference "+r.name, command
		list = append(list, r)
	}
	return list, missing
}

// models are those that the configuration takes.
func models() (list []string) {
	for _, model := range []string{"goroutine", "thread", "process"} {
		if configurationTakes(model) {
			list = append(list, model)
		}
	}
	return list
}

func configurationTakes(model string) bool {
	dir, err := os.MkdirTemp("", "tcpmux-bench")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir) // what stays is in the directory for temporary files
	path := filepath.Join(dir, "tcpmux.toml")
	if err := os.WriteFile(path, fmt.Appendf(nil, "model = %q\n", model), 0o600); err != nil {
		return false
	}
	_, err = config.Load(path)
	return err == nil
}

func tcpmux(program, model string) func(int, string, int) (*exec.Cmd, error) {
	return func(port int, dir string, clients int) (*exec.Cmd, error) {
		path := filepath.Join(dir, "tcpmux.toml")
		text := fmt.Sprintf("address = \"127.0.0.1:%d\"\nmodel = %q\n[record]\nfile = \"records.log\"\n[limits]\nclients = %d\n",
			port, model, max(clients+spare, config.Default().Limits.Clients))
		return exec.Command(program, "run", "--config", path), os.WriteFile(path, []byte(text), 0o600)
	}
}

// The reference programs listen with a backlog of 5, which is what a comparison would measure: their classes get everybody's.
const asModule = `import sys
sys.path.insert(0, sys.argv[1])
m = __import__(sys.argv[2])
next(c for n, c in vars(m).items() if n.startswith("Server"))("127.0.0.1", int(sys.argv[3]), 4096).server_start()`

func python(script string) (func(int, string, int) (*exec.Cmd, error), error) {
	if _, err := os.Stat(script); err != nil {
		return nil, err
	}
	interpreter, err := exec.LookPath("python3")
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Dir(script))
	if err != nil {
		return nil, err
	}
	module := strings.TrimSuffix(filepath.Base(script), ".py")
	return func(port int, _ string, _ int) (*exec.Cmd, error) {
		cmd := exec.Command(interpreter, "-B", "-u", "-c", asModule, dir, module, strconv.Itoa(port))
		return cmd, nil
	}, nil
}

// server is a contestant that runs.
type server struct {
	address string
	cmd     *exec.Cmd
	dir     string
	said    *os.File
}

// patience is how long a server may take to listen, and to end.
const patience = 10 * time.Second

func (c contestant) start(ctx context.Context, clients int) (*server, error) {
	dir, err := os.MkdirTemp("", "tcpmux-bench")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir}
	if err := s.launch(ctx, c, clients); err != nil {
		said := s.lastWords()
		_, _ = s.stop() // why it did not start is what counts
		return nil, fmt.Errorf("start %s: %w%s", c.name, err, said)
	}
	return s, nil
}

func (s *server) launch(ctx context.Context, c contestant, clients int) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	s.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if s.said, err = os.Create(filepath.Join(s.dir, "output")); err != nil {
		return err
	}
	cmd, err := c.command(port, s.dir, clients)
	if err != nil {
		return err
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, s.said, s.said
	// A group of its own, so that what it starts ends with it and Ctrl-C is ours alone; the kernel ends it should we be killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Env = serverEnvironment()
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd = cmd
	return s.listens(ctx)
}

// serverEnvironment is ours without what systemd tells the process that it started.
func serverEnvironment() (env []string) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LOGS_DIRECTORY":
		default:
			env = append(env, v)
		}
	}
	return env
}

// freePort is a port that was free just now: neither the configuration nor the reference programs tell which one they got.
func freePort() (int, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close() // who cannot listen there then says so
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// listens waits until the server takes a client, or has ended.
func (s *server) listens(ctx context.Context) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp4", s.address)
		if err == nil {
			return conn.Close()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.ended() {
			return errors.New("it ended at once")
		}
	}
	return fmt.Errorf("it does not listen on %s", s.address)
}

// ended leaves the process to be waited for, so that its number stays its own.
func (s *server) ended() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, s.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo == int32(unix.SIGCHLD)
}

// stop ends the server and all that it started, and returns the processor time that they took as far as the kernel knows:
// that of children which the server has waited for.
func (s *server) stop() (cpu time.Duration, err error) {
	defer os.RemoveAll(s.dir) // what stays is in the directory for temporary files
	if s.said != nil {
		defer s.said.Close() // nobody reads it any more
	}
	if s.cmd == nil {
		return 0, nil
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	for deadline := time.Now().Add(patience); !s.ended() && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	// Before anybody has waited for the server, so that the group's number is still its own.
	if err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return 0, err
	}
	_ = s.cmd.Wait() // that it ended by our signal is no error
	return s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime(), nil
}

// lastWords is the end of what the server said, for an error.
func (s *server) lastWords() string {
	if s.said == nil {
		return ""
	}
	text, err := os.ReadFile(s.said.Name())
	if err != nil {
		return ""
	}
	text = bytes.TrimSpace(text)
	if i := bytes.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	if len(text) == 0 {
		return ""
	}
	return fmt.Sprintf(": it said %q", text)
}

// nudge connects once more, for a server that lets go of a client only when the next one comes.
func (s *server) nudge() (end func()) {
	conn, err := net.Dial("tcp4", s.address)
	if err != nil {
		return func() {} // the run will tell
	}
	return func() { _ = conn.Close() } // only its being there mattered
}
