package program_test

import (
	"bufio"
	"errors"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/record"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
)

const shortGrace = 50 * time.Millisecond

func TestProgramIsStoppedAtExecTimeout(t *testing.T) {
	for _, c := range []struct{ name, script string }{
		{"it obeys", "sleep 1000 & echo $!; wait"},
		{"it ignores SIGTERM", "trap '' TERM; sleep 1000 & echo $!; wait; while :; do sleep 1000; done"},
		{"it is suspended", "sleep 1000 & echo $!; kill -STOP $$"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := servertest.New(t, and(shell(c.script), func(c *config.Config) {
				c.Listeners[0].ExecTimeout = 50 * time.Millisecond
			}), servertest.StopGrace(shortGrace)).Open()
			k := f.Client()
			grandchild := k.HearEnd()
			awaitClose(f, k, "timeout")
			awaitGone(t, grandchild)
			f.Log.Await(t, `err="program was stopped: signal `)
		})
	}
}

// TestProgramIsStoppedAtMaxSession, whether its client is recorded or not.
func TestProgramIsStoppedAtMaxSession(t *testing.T) {
	for name, record := range map[string]bool{"recorded": true, "not recorded": false} {
		t.Run(name, func(t *testing.T) {
			f := servertest.New(t, and(shell("echo $$; exec sleep 1000"), func(c *config.Config) {
				c.Listeners[0].Record, c.Listeners[0].Limits.MaxSession = record, 50*time.Millisecond
			})).Open()
			k := f.Client()
			pid := k.HearEnd()
			awaitClose(f, k, "age")
			awaitGone(t, pid)
		})
	}
}

// TestProgramsGroupEndsWithIt; a process that has left the group at least loses the client.
func TestProgramsGroupEndsWithIt(t *testing.T) {
	f := servertest.New(t, shell("sleep 1000 & echo $!; exit 4")).Open()
	c := f.Client()
	grandchild := c.HearEnd()
	awaitClose(f, c, "exit 4")
	awaitGone(t, grandchild)

	// This one, outside the group, waits until the program has gone, and then for the client's
	// end.
	f = servertest.New(t, shell(`exec 3<&0
		setsid sh -c 'echo $$; while [ -d /proc/'$$' ]; do sleep 0.01; done; cat <&3' &
		read line; exit 5`)).Open()
	c = f.Client()
	escaped := make([]byte, 16)
	n, err := c.Read(escaped)
	if err != nil {
		t.Fatal(err)
	}
	c.Say("go\n")
	c.HearEnd()
	awaitClose(f, c, "exit 5")
	awaitGone(t, string(escaped[:n]))
}

// TestProgramThatDrainsIsLeftToFinish, whether its client is recorded or not.
func TestProgramThatDrainsIsLeftToFinish(t *testing.T) {
	for _, c := range []struct {
		name, records string
		change        func(*config.Config)
	}{
		{"not recorded", "0 records", nil},
		{"recorded", "2 records", recorded},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := servertest.New(t, and(running("/bin/cat"), c.change)).Open()
			k := f.Client()
			k.Say("before\n")
			k.Hear("before\n")
			ended := f.Shutdown(t.Context())
			k.Say("after\n")
			k.Hear("after\n")
			_ = k.CloseWrite()
			k.HearEnd()
			if err := servertest.Result(t, ended); err != nil {
				t.Error(err)
			}
			f.AwaitRecords("close from " + k.Addr() + ": exit 0, " + c.records)
		})
	}
}

func TestProgramThatDoesNotFinishIsStopped(t *testing.T) {
	for _, c := range []struct{ name, script, said string }{
		{"it says goodbye", "trap 'echo bye; exit' TERM; echo here; sleep 1000 & wait", "bye\n"},
		{"it ignores SIGTERM", "trap '' TERM; echo here; while :; do sleep 1000; done", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := servertest.New(t, shell(c.script), servertest.StopGrace(shortGrace)).Open()
			k := f.Client()
			k.Hear("here\n")
			if err := f.Server.Shutdown(servertest.Done()); err == nil {
				t.Error("got nil, want how many clients did not finish")
			}
			if got := k.HearEnd(); c.said != "" && got != c.said {
				t.Errorf("heard %q, want %q", got, c.said)
			}
			awaitClose(f, k, "drain")
		})
	}
}

// TestEscapedProcessHoldsNothingOfTheDaemon: one that has left the program's group, and has its
// standard error, keeps nobody in the daemon waiting.
func TestEscapedProcessHoldsNothingOfTheDaemon(t *testing.T) {
	f := servertest.New(t, shell("setsid sleep 1000 & echo $!; read line")).Open()
	goroutines := runtime.NumGoroutine()
	c := f.Client()
	pid, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(strings.TrimSpace(pid))
	defer unix.Kill(n, unix.SIGKILL)
	servertest.Eventually(t, func() bool { sid, _ := unix.Getsid(n); return sid == n },
		func() { t.Error("it stays in its session") })
	c.Say("go\n")
	awaitClose(f, c, "exit 0")
	servertest.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines }, func() {
		t.Errorf("goroutines: got %d, want %d", runtime.NumGoroutine(), goroutines)
	})
}

// TestProgramThatStartsTooLateIsStopped: the time to finish may be over before the program runs.
func TestProgramThatStartsTooLateIsStopped(t *testing.T) {
	for name, change := range map[string]func(*config.Config){"not recorded": nil, "recorded": recorded} {
		t.Run(name, func(t *testing.T) {
			f := servertest.New(t, and(running("/bin/cat"), change))
			c, fd := tcpPair(t)
			env, settings := f.Server.Env(), f.Binding().Settings()
			var bounds atomic.Pointer[session.Bounds]
			bounds.Store(session.BoundsOf(settings.Listener))
			poll, err := conn.NewPoll(fd)
			if err != nil {
				t.Fatal(err)
			}
			s := session.New(session.Config{
				Env: env, Settings: &settings.Settings, Bounds: &bounds, Conn: poll, Events: config.AllEvents,
				Source: record.Source{Listener: "tcpmux", Session: "1", Remote: c.Addr()}, Opened: time.Now(),
			})
			s.Enter(session.Over)
			// Then the program ends.
			defer time.AfterFunc(servertest.Patience, func() { _ = c.Close() }).Stop()
			s.Run()
			c.HearEnd()
			awaitClose(f, c, "drain")
		})
	}
}

// tcpPair returns a client, and the non-blocking descriptor of the other end of its connection.
func tcpPair(t *testing.T) (c *servertest.Client, fd int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c = servertest.Dial(t, ln.Addr().String(), nil)
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	raw, err := accepted.(*net.TCPConn).SyscallConn()
	if err == nil {
		cerr := raw.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 3) })
		err = errors.Join(err, cerr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c, fd
}
