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

// candidate is a server to compare with others.
type candidate struct {
	name string
	// command returns the command that serves on a port of 127.0.0.1. It may write files into
	// dir, which is its working directory.
	command func(port int, dir string, clients int) (*exec.Cmd, error)
	// oneByOne reports whether it serves one client at a time, so that it cannot serve a crowd.
	oneByOne bool
	// needsNext reports whether it closes a connection only when the next client has connected.
	needsNext bool
}

// candidates returns tcpmux with each model, and the reference programs in a directory. missing has
// a line for each that cannot be measured.
func candidates(o CompareOptions) (list []candidate, missing []string) {
	framing, _ := findFraming(o.Framing) // Check has refused all others
	for _, model := range models() {
		list = append(list, candidate{name: "tcpmux " + model, command: tcpmux(o.Program, model, framing.settings(o.Size))})
	}
	if framing.name != framings[0].name {
		return list, []string{"reference programs: they read lines, not " + framing.name}
	}
	for _, r := range []candidate{{name: "process", needsNext: true}, {name: "thread"}, {name: "coroutine", oneByOne: true}} {
		script := filepath.Join(o.Reference, "server_"+r.name+".py")
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

// models returns the models that the configuration accepts.
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
	defer os.RemoveAll(dir) // what is left is in the directory for temporary files
	path := filepath.Join(dir, "tcpmux.toml")
	if err := os.WriteFile(path, fmt.Appendf(nil, "model = %q\n", model), 0o600); err != nil {
		return false
	}
	_, err = config.Load(path)
	return err == nil
}

func tcpmux(program, model, framing string) func(int, string, int) (*exec.Cmd, error) {
	return func(port int, dir string, clients int) (*exec.Cmd, error) {
		path := filepath.Join(dir, "tcpmux.toml")
		text := fmt.Sprintf("address = \"127.0.0.1:%d\"\nmodel = %q\n%s[record]\nfile = \"records.log\"\n[limits]\nclients = %d\n",
			port, model, framing, max(clients+spare, config.Default().Limits.Clients))
		return exec.Command(program, "run", "--config", path), os.WriteFile(path, []byte(text), 0o600)
	}
}

// asModule runs the class of a reference program with a larger backlog than its own: otherwise a
// comparison would only measure its backlog of 5.
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

// server is a running candidate.
type server struct {
	address string
	cmd     *exec.Cmd
	dir     string
	output  *os.File
}

// patience is how long a server may take to listen, and how long to end.
const patience = 10 * time.Second

func (c candidate) start(ctx context.Context, clients int) (*server, error) {
	dir, err := os.MkdirTemp("", "tcpmux-bench")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir}
	if err := s.launch(ctx, c, clients); err != nil {
		output := s.lastOutput()
		_, _ = s.stop() // the error of the start is returned
		return nil, fmt.Errorf("start %s: %w%s", c.name, err, output)
	}
	return s, nil
}

func (s *server) launch(ctx context.Context, c candidate, clients int) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	s.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if s.output, err = os.Create(filepath.Join(s.dir, "output")); err != nil {
		return err
	}
	cmd, err := c.command(port, s.dir, clients)
	if err != nil {
		return err
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, s.output, s.output
	// In a process group of its own, what it starts can be ended with it, and Ctrl-C does not
	// reach it. If this process is killed, the kernel kills the server.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Env = serverEnvironment()
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd = cmd
	return s.listens(ctx)
}

// serverEnvironment returns this process's environment without the variables of systemd.
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

// freePort returns a port that is free at the moment. A server cannot choose one by itself, because
// the reference programs do not report which one they use.
func freePort() (int, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close() // if the port is taken meanwhile, the server fails
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// listens waits until the server accepts a connection, and returns an error if it has ended.
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

// ended reports whether the server has ended. It does not reap the process, so that its PID is not
// reused.
func (s *server) ended() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, s.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo == int32(unix.SIGCHLD)
}

// stop ends the server and all that it started, and returns the processor time of the server and of
// the children that it has waited for.
func (s *server) stop() (cpu time.Duration, err error) {
	defer os.RemoveAll(s.dir) // what is left is in the directory for temporary files
	if s.output != nil {
		defer s.output.Close() // it has been read
	}
	if s.cmd == nil {
		return 0, nil
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	for deadline := time.Now().Add(patience); !s.ended() && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	// The server is not reaped yet, so the ID of its group is not reused.
	if err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return 0, err
	}
	_ = s.cmd.Wait() // it ended by a signal of this process
	return s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime(), nil
}

// lastOutput returns the last line that the server has printed, for an error.
func (s *server) lastOutput() string {
	if s.output == nil {
		return ""
	}
	text, err := os.ReadFile(s.output.Name())
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
	return fmt.Sprintf(": it printed %q", text)
}

// connectNext connects once more, for a server that needs the next client to close a connection.
func (s *server) connectNext() (end func()) {
	conn, err := net.Dial("tcp4", s.address)
	if err != nil {
		return func() {} // the run reports that the server does not close
	}
	return func() { _ = conn.Close() } // nothing was sent
}
