// Package natstest runs real NATS servers for tests, and reads what their streams hold.
package natstest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"

	"tcpmux/internal/await"
)

// Versions returns the versions of servers that Start knows.
func Versions() []string { return []string{"2.9", "2.10", "2.15"} }

// Newest is the newest of Versions, and knows atomic batches.
const Newest = "2.15"

// Options are how a server is run. The zero value is a single server with JetStream, and without
// authentication and TLS.
type Options struct {
	// Config is appended to the configuration file: authorization, tls, max_payload …
	Config string
	// JetStream is what the block of that name has besides the store directory, such as
	// "max_file: 10M". "": much room, whatever the disk has.
	JetStream string

	name, cluster string // of a server of a cluster
}

// Server is a server process. The test ends it.
type Server struct {
	// URL is where clients connect. It stays the same when the server is started again.
	URL string
	// Dir is where its files are.
	Dir string

	t       testing.TB
	opt     Options
	program string
	cmd     *exec.Cmd
	exited  chan struct{}
}

// Start starts a server of a version, and waits until it can be used. If the server is not
// installed, the test fails.
func Start(t testing.TB, version string, opt Options) *Server {
	t.Helper()
	s := create(t, version, opt)
	s.start()
	s.ready()
	return s
}

// create prepares a server that does not run yet.
func create(t testing.TB, version string, opt Options) *Server {
	t.Helper()
	s := &Server{t: t, Dir: t.TempDir(), opt: opt, program: program(t, version), URL: "nats://127.0.0.1:-1"}
	t.Cleanup(s.Kill)
	return s
}

// program returns the path of a server of a version.
func program(t testing.TB, version string) string {
	t.Helper()
	_, self, _, _ := runtime.Caller(0)
	tools := filepath.Join(filepath.Dir(self), "../../../build/tools")
	path, ok := map[string]string{
		"2.9":  "/usr/sbin/nats-server",
		"2.10": filepath.Join(tools, "nats-server-2.10"),
		"2.15": filepath.Join(tools, "nats-server"),
	}[version]
	if !ok {
		t.Fatalf("got version %q of the NATS server, want one of %q", version, Versions())
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("NATS server %s: %v: \"make nats\" builds and installs all of them", version, err)
	}
	return path
}

func (s *Server) start() {
	s.t.Helper()
	u, err := url.Parse(strings.Replace(s.URL, ":-1", ":0", 1))
	if err != nil {
		s.t.Fatal(err)
	}
	port := u.Port()
	if port == "0" {
		port = "-1"
	}
	config := fmt.Sprintf("listen: \"127.0.0.1:%s\"\nserver_name: %q\njetstream {\n\tstore_dir: %q\n%s\n}\n%s\n%s\n",
		port, s.opt.name, filepath.Join(s.Dir, "store"), cmp.Or(s.opt.JetStream, "max_file: 1T"), s.opt.cluster, s.opt.Config)
	if s.opt.name == "" {
		config = strings.Replace(config, "server_name: \"\"\n", "", 1)
	}
	path := filepath.Join(s.Dir, "server.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command(s.program, "-c", path, "-l", s.log(), "--ports_file_dir", s.Dir)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	s.exited = make(chan struct{})
	started := make(chan error)
	go run(s.cmd, started, s.exited)
	if err := <-started; err != nil {
		s.t.Fatal(err)
	}
}

// run starts the server and waits for its end. The server ends with the thread that has started it,
// so that none is left when a test panics: the thread is kept until then.
func run(cmd *exec.Cmd, started chan<- error, exited chan<- struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(exited)
	err := cmd.Start()
	started <- err
	if err == nil {
		_ = cmd.Wait() // tests kill it
	}
}

func (s *Server) log() string { return filepath.Join(s.Dir, "nats.log") }

// ready waits until the server takes clients, and learns its port.
func (s *Server) ready() {
	s.t.Helper()
	var ports struct{ Nats []string }
	await.Until(s.t, func() bool {
		text, err := os.ReadFile(s.portsFile())
		if err == nil && json.Unmarshal(text, &ports) == nil && len(ports.Nats) > 0 {
			return true
		}
		select {
		case <-s.exited:
			s.fail("the server has ended")
		default:
		}
		return false
	}, func() { s.fail("the server does not start") })
	u, err := url.Parse(ports.Nats[0])
	if err != nil {
		s.t.Fatal(err)
	}
	s.URL = "nats://" + net.JoinHostPort("127.0.0.1", u.Port())
}

func (s *Server) portsFile() string {
	return filepath.Join(s.Dir, fmt.Sprintf("%s_%d.ports", filepath.Base(s.program), s.cmd.Process.Pid))
}

// fail ends the test with the server's log.
func (s *Server) fail(what string) {
	s.t.Helper()
	log, err := os.ReadFile(s.log())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Error(err)
	}
	s.t.Fatalf("%s:\n%s", what, log[max(0, len(log)-4000):])
}

// Kill ends the server with SIGKILL, if it runs.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the server with SIGTERM, if it runs.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

func (s *Server) end(signal syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(signal) // it may have ended
	<-s.exited
	_ = os.Remove(s.portsFile()) // it may have removed it
	s.cmd = nil
}

// Pause stops the server with SIGSTOP, so that it answers nothing and keeps its connections, until
// Continue or Kill.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Continue ends a Pause.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
}

// Restart starts the server again on its port and with its store, and waits until it can be used.
// It may be called while the server runs: then it is killed.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.start()
	s.ready()
}

// Configure replaces the configuration for the next Restart. What is about the cluster stays.
func (s *Server) Configure(opt Options) {
	opt.name, opt.cluster = s.opt.name, s.opt.cluster
	s.opt = opt
}

// Connect returns a connection to the server, which the test closes.
func (s *Server) Connect(opts ...nats.Option) *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect(s.URL, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}
