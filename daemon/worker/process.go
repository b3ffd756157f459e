package worker

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/session"
	"tcpmux/daemon/signals"
)

// ProcessName is the argv[0] of a session process: an executable that is started under it calls
// Main with its arguments, and nothing else.
const ProcessName = "tcpmux: session"

const (
	// processChannel is the descriptor of a process's end of the pair of sockets.
	processChannel = 3
	// processHeap is what the garbage collector keeps a process's heap to, as long as it can.
	processHeap = "64MiB"
)

// Main serves the clients that the daemon passes to this process, one after another, and returns
// the exit status. Standard error is the daemon's. The process is killed in the moment in which the
// daemon ends, however it does.
func Main(args []string) int {
	// They are for the daemon, which controls this process; a terminal or a service manager may
	// signal the whole group.
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2)
	signals.Deliver()
	if err := run(args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "tcpmux: session process: %v\n", err)
		return 1
	}
	return 0
}

func run(args []string) error {
	c, err := newChannel(processChannel)
	if err != nil {
		return err
	}
	if err := dieWith(args); err != nil {
		return err
	}
	limit := unix.Rlimit{Cur: maxMemory, Max: maxMemory}
	if err := unix.Prlimit(0, unix.RLIMIT_DATA, &limit, nil); err != nil {
		return fmt.Errorf("limit memory: %w; a service's SystemCallFilter= has to allow prlimit64",
			os.NewSyscallError("prlimit", err))
	}
	if err := confine(); err != nil {
		return err
	}
	return newChildServer(c).serve()
}

// dieWith has the kernel kill the process when its daemon, whose process ID is the only argument,
// ends: it could take from a socket what the next daemon has found there.
func dieWith(args []string) error {
	// The setting is one of the thread. The runtime does not end threads that are free again.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	if len(args) != 1 || args[0] != strconv.Itoa(os.Getppid()) {
		// Before the kernel knew.
		return errors.New("the daemon that has started it has ended")
	}
	return nil
}

// childServer serves clients in a session process, one at a time. The daemon writes the records.
type childServer struct {
	channel *channel
	sink    *remoteSink
	last    lastMessage
	buffers *session.Buffers
	spill   *session.Spill
	log     *slog.Logger
	bounds  atomic.Pointer[session.Bounds]

	session  *session.Session // the last one; nil before the first
	recorder *session.Recorder
}

func newChildServer(c *channel) *childServer {
	s := &childServer{
		channel: c,
		sink:    newRemoteSink(c.file),
		spill:   session.NewSpill(),
		log:     slog.New(slog.DiscardHandler),
	}
	s.buffers = session.NewBuffers(func() session.Encoder { return encoder{&s.last} })
	return s
}

// serve does what the daemon asks for until the channel ends: without a daemon nobody writes
// records. What comes for a session that has just ended does no harm.
func (s *childServer) serve() error {
	for {
		kind, body, err := s.channel.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = s.handle(kind, body)
		}
		if err != nil {
			return fmt.Errorf("read from the daemon: %w", err)
		}
	}
}

// handle does what one frame asks for.
func (s *childServer) handle(kind frameKind, body []byte) error {
	switch kind {
	case frameSetup:
		setup, err := parseSetup(body)
		if err != nil {
			return err
		}
		return s.begin(setup)
	case frameControl:
		c, err := parseControl(body)
		if err != nil {
			return err
		}
		return s.control(c)
	default: // frameAnswer
		a, err := parseAnswer(body)
		if err != nil {
			return err
		}
		return s.sink.answered(a)
	}
}

// control tells the session how the daemon stands to it.
func (s *childServer) control(c control) error {
	if s.session == nil {
		return errProtocol
	}
	s.apply(&c)
	return nil
}

func (s *childServer) apply(c *control) {
	s.bounds.Store(&c.Bounds)
	s.session.Enter(c.Phase)
	if c.Hurried {
		s.session.Hurry()
	}
	s.recorder.Changed() // the session does not know its service, as it is not run
}

// begin begins to serve a client.
func (s *childServer) begin(setup *setup) error {
	fd, err := s.channel.connection()
	if err != nil {
		return err
	}
	poll, err := conn.NewPoll(fd)
	if err != nil {
		return err
	}
	var c conn.Conn = poll
	if setup.Takes {
		c = &takingConn{Conn: poll, sink: s.sink}
	}
	s.session = s.newSession(setup, c)
	s.recorder = session.NewRecorder(s.session)
	if setup.Control.Phase != session.Serving {
		s.apply(&setup.Control)
	}
	go s.record(s.session, s.recorder)
	return nil
}

// newSession returns the session that a setup begins.
func (s *childServer) newSession(setup *setup, c conn.Conn) *session.Session {
	now := time.Now()
	s.bounds.Store(&setup.Control.Bounds)
	s.last = lastMessage{}
	config := session.Config{
		Env: &session.Env{
			Buffers:       s.buffers,
			Spill:         s.spill,
			Log:           s.log,
			BannerTimeout: setup.BannerTimeout,
		},
		Settings: setup.settings(s.sink),
		Bounds:   &s.bounds,
		Conn:     c,
		Opened:   now.Add(-setup.Age),
		Past:     &session.Past{Resume: setup.resume(now)},
	}
	if setup.Checkpoints {
		config.Checkpoints = &checkpoints{
			sink: s.sink,
			last: &s.last,
			acks: setup.ack != "",
			base: config.Resume.Offset,
			have: len(setup.moved),
		}
	}
	return session.New(config)
}

// record serves a client to the end, and tells the daemon, which may then pass the next.
func (s *childServer) record(of *session.Session, recorder *session.Recorder) {
	why, err := recorder.Serve()
	of.Conn.Close()
	e := end{endHeader: endHeader{Progress: progressOf(recorder.Tally())}, reason: why}
	if err != nil {
		e.text = err.Error()
	}
	_ = s.sink.end(&e) // it fails when the daemon has gone, and so does the channel
}
