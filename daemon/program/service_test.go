package daemon

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
)

// running has each client served by a program.
func running(args ...string) func(*config.Config) {
	return func(c *config.Config) {
		c.Listeners[0].Exec, c.Listeners[0].Banner, c.Listeners[0].Record = args, config.Bytes{}, false
	}
}

// shell has each client served by a script.
func shell(script string) func(*config.Config) { return running("/bin/sh", "-c", script) }

// and makes one change after another.
func and(changes ...func(*config.Config)) func(*config.Config) {
	return func(c *config.Config) {
		for _, change := range changes {
			change(c)
		}
	}
}

// limited has programs start by way of the starter.
func limited(c *config.Config) { c.Listeners[0].ExecMemory = 1 << 30 }

// closes waits until a client's session is closed for a reason.
func (d *desk) closes(c *client, reason string) {
	d.t.Helper()
	d.records("close from " + c.addr() + ": " + reason + ", ")
}

// gone waits until there is no such process.
func gone(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(pid))
	if err != nil || n < 2 {
		t.Fatalf("got pid %q, want a number", pid)
	}
	eventually(t, func() bool { return errors.Is(unix.Kill(n, 0), unix.ESRCH) || zombie(n) }, func() { t.Errorf("process %d is alive", n) })
}

func TestAProgramTalksToItsClient(t *testing.T) {
	for name, change := range map[string]func(*config.Config){"at once": nil, "by the starter": limited} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, and(running("/bin/cat"), func(c *config.Config) {
				if change != nil {
					change(c)
				}
			})).open()
			c := d.client()
			c.say("hello\n")
			c.hear("hello\n")
			want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
			go func() {
				_, _ = c.Write(want)
				_ = c.CloseWrite()
			}()
			if got := c.hearEnd(); got != string(want) {
				t.Errorf("heard %d bytes, want the %d that were said", len(got), len(want))
			}
			d.records("open from "+c.addr()+"\n", "close from "+c.addr()+": exit 0, 0 records, 0 bytes\n")
		})
	}
}

func TestAProgramHasTheEnvironmentOfUCSPI(t *testing.T) {
	for name, change := range map[string]func(*config.Config){"at once": func(*config.Config) {}, "by the starter": limited} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TCPMUX_SECRET", "of the daemon")
			d := newDesk(t, and(running("/usr/bin/env"), change)).open()
			c := d.client()
			got := slices.Sorted(strings.Lines(c.hearEnd()))
			d.closes(c, "exit 0")
			d.log.await(t, "session closed")
			session := regexp.MustCompile(`session=(\S+)`).FindStringSubmatch(d.log.line("session closed"))[1]
			local, remote := d.ln.addr, c.LocalAddr().String()
			want := []string{
				programPath + "\n", "PROTO=TCP\n",
				"TCPLOCALIP=127.0.0.1\n", fmt.Sprintf("TCPLOCALPORT=%d\n", local.Port()),
				"TCPMUX_LISTENER=tcpmux\n", "TCPMUX_SESSION=" + session + "\n",
				"TCPREMOTEIP=127.0.0.1\n", "TCPREMOTEPORT=" + remote[strings.LastIndexByte(remote, ':')+1:] + "\n",
			}
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

func TestAProgramOfAnIPv6Client(t *testing.T) {
	d := newDesk(t, and(shell("echo $PROTO $TCPLOCALIP $TCPREMOTEIP"), func(c *config.Config) { c.Listeners[0].Address = []string{"[::1]:0"} })).open()
	if got, want := d.client().hearEnd(), "TCP ::1 ::1\n"; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
}

// TestAProgramStartsClean: no descriptor but three, no signal ignored or blocked, in /, in a session of its own, and its end of
// the connection blocks.
func TestAProgramStartsClean(t *testing.T) {
	for name, change := range map[string]func(*config.Config){"at once": func(*config.Config) {}, "by the starter": limited} {
		t.Run(name, func(t *testing.T) {
			keepDescriptors()
			d := newDesk(t, and(shell(`pwd; set -- $(cat /proc/$$/stat); echo $(( $6 - $$ ));
				sed -n 's/^Sig\(Ign\|Blk\):\t//p' /proc/self/status; grep ^flags /proc/$$/fdinfo/1; ls /proc/$$/fd; :`), change)).open()
			got := d.client().hearEnd()
			// Signals 32 and 33 are the C library's own: whoever started us may have passed them on.
			want := regexp.MustCompile(`^/\n0\n0{16}\n0{7}[01][08]0{7}\nflags:\t02\n0\n1\n2\n$`)
			if !want.MatchString(got) {
				t.Errorf("got %q, want %v", got, want)
			}
		})
	}
}

func TestAProgramsEndIsInTheRecord(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name, want, log string
		change          func(*config.Config)
	}{
		{"good", "exit 0", `reason="exit 0"`, shell("exit 0")},
		{"bad", "exit 3", `reason="exit 3"`, shell("exit 3")},
		{"highest", "exit 255", `reason="exit 255"`, shell("exit 255")},
		{"killed", "signal 9", `reason="signal 9"`, shell("kill -9 $$")},
		{"crashed", "signal 11", `reason="signal 11"`, shell("kill -SEGV $$")},
		{"gone", "exec", `start \"` + dir + `/gone\": no such file or directory (it has gone`, running(dir + "/gone")},
		{"no program", "exec", "exec format error (it is no program of this machine", running(script("text", "hello\n"))},
		{"no interpreter", "exec", "or the interpreter that its first line names is not there", running(script("bad", "#!/no/such\n"))},
		{"gone, by the starter", "exit 127", "no such file or directory (it has gone", and(running(dir+"/gone"), limited)},
		{"a directory, by the starter", "exit 126", "permission denied", and(running(dir), limited)},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, c.change).open()
			k := d.client()
			k.hearEnd()
			d.closes(k, c.want)
			d.log.await(t, c.log, "session closed")
			level := "level=DEBUG"
			if c.want == "exec" {
				level = "level=WARN"
			}
			if line := d.log.line("session closed"); !strings.Contains(line, level) {
				t.Errorf("got %s, want %s", line, level)
			}
		})
	}
}

func TestAProgramIsGreetedForOnlyWhenAsked(t *testing.T) {
	d := newDesk(t, and(shell("echo program"), func(c *config.Config) { c.Listeners[0].Banner = config.Text("{listener}\r\n") })).open()
	if got, want := d.client().hearEnd(), "tcpmux\r\nprogram\n"; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
}

func TestAProgramsStandardErrorIsInTheLog(t *testing.T) {
	d := newDesk(t, shell(`printf 'one\r\n\033]0;x\007 level=ERROR msg=forged\nlast' >&2; head -c 5000 /dev/zero | tr '\0' x >&2; echo >&2`)).open()
	c := d.client()
	c.hearEnd()
	d.closes(c, "exit 0")
	line := d.log.line("program stderr")
	for _, want := range []string{"listener=tcpmux", "remote=" + c.addr(), "session=", "line=one"} {
		if !strings.Contains(line, want) {
			t.Errorf("got %q, want %q in it", line, want)
		}
	}
	log := d.log.await(t, `line="\x1b]0;x\a level=ERROR msg=forged"`, "line=lastx", "session closed")
	if strings.ContainsRune(log, 0x1b) {
		t.Errorf("got %q, want no escape in it", log)
	}
	if got, want := strings.Count(log, "x"), 5000; got < want {
		t.Errorf("a long line: got %d of its %d bytes", got, want)
	}
	for l := range strings.Lines(log) {
		if len(l) > stderrLine+400 {
			t.Errorf("got a line of %d bytes, want %d and what stands around it at most", len(l), stderrLine)
		}
	}
}

// TestAProgramCannotFloodTheLog: what is too much is counted.
func TestAProgramCannotFloodTheLog(t *testing.T) {
	const lines = 20_000
	d := newDesk(t, shell(fmt.Sprintf(`seq %d >&2`, lines))).open()
	c := d.client()
	c.hearEnd()
	d.closes(c, "exit 0")
	log := d.log.await(t, "session closed")
	if last := slices.Collect(strings.Lines(log)); !strings.Contains(last[len(last)-1], "session closed") {
		t.Errorf("got %q behind the end of the session", last[len(last)-1])
	}
	logged, skipped := strings.Count(log, "program stderr\""), 0
	for _, m := range regexp.MustCompile(`left out" .* lines=(\d+)`).FindAllStringSubmatch(log, -1) {
		n, _ := strconv.Atoi(m[1])
		skipped += n
	}
	if logged+skipped != lines || logged < stderrBurst || skipped == 0 {
		t.Errorf("got %d lines in the log and %d left out, want %d in all, and %d logged at least", logged, skipped, lines, stderrBurst)
	}
}

func TestAProgramsTimeIsOver(t *testing.T) {
	for _, c := range []struct{ name, script string }{
		{"and it obeys", "sleep 1000 & echo $!; wait"},
		{"and it does not care", "trap '' TERM; sleep 1000 & echo $!; wait; while :; do sleep 1000; done"},
		{"and it is stopped", "sleep 1000 & echo $!; kill -STOP $$"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, and(shell(c.script), func(c *config.Config) { c.Listeners[0].ExecTimeout = 50 * time.Millisecond }))
			d.srv.stopGrace = 50 * time.Millisecond
			d.open()
			k := d.client()
			grandchild := k.hearEnd()
			d.closes(k, "timeout")
			gone(t, grandchild)
			d.log.await(t, `err="program was stopped: signal `)
		})
	}
}

// TestAProgramsSessionIsOfAge: max_session ends it too, whether the client is recorded or not.
func TestAProgramsSessionIsOfAge(t *testing.T) {
	for name, record := range map[string]bool{"recorded": true, "not recorded": false} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, and(shell("echo $$; exec sleep 1000"), func(c *config.Config) {
				c.Listeners[0].Record, c.Listeners[0].Limits.MaxSession = record, 50*time.Millisecond
			})).open()
			k := d.client()
			program := k.hearEnd()
			d.closes(k, "age")
			gone(t, program)
		})
	}
}

// TestAProgramTakesItsGroupAlong when it ends by itself; who has left the group loses the client at least.
func TestAProgramTakesItsGroupAlong(t *testing.T) {
	d := newDesk(t, shell("sleep 1000 & echo $!; exit 4")).open()
	c := d.client()
	grandchild := c.hearEnd()
	d.closes(c, "exit 4")
	gone(t, grandchild)

	// This one, outside the group, waits until the program has gone, and then for the client's end.
	d = newDesk(t, shell(`exec 3<&0
		setsid sh -c 'echo $$; while [ -d /proc/'$$' ]; do sleep 0.01; done; cat <&3' &
		read line; exit 5`)).open()
	c = d.client()
	escaped := make([]byte, 16)
	n, err := c.Read(escaped)
	if err != nil {
		t.Fatal(err)
	}
	c.say("go\n")
	c.hearEnd()
	d.closes(c, "exit 5")
	gone(t, string(escaped[:n]))
}

func TestAProgramsMemoryIsLimited(t *testing.T) {
	const script = "ulimit -v; dd if=/dev/zero of=/dev/null bs=256M count=1 && echo enough"
	d := newDesk(t, and(shell(script), func(c *config.Config) { c.Listeners[0].ExecMemory = 64 << 20 })).open()
	c := d.client()
	if got, want := c.hearEnd(), "65536\n"; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
	d.closes(c, "exit 1")
	d.log.await(t, "memory exhausted")
	if got, want := newDesk(t, shell(script)).open().client().hearEnd(), "unlimited\nenough\n"; got != want {
		t.Errorf("without a limit: heard %q, want %q", got, want)
	}
}

func TestAProgramIsLeftToFinishWhenTheDaemonStops(t *testing.T) {
	d := newDesk(t, running("/bin/cat")).open()
	c := d.client()
	c.say("before")
	c.hear("before")
	d.srv.drain()
	c.say("after")
	c.hear("after")
	_ = c.CloseWrite()
	c.hearEnd()
	d.awaitClients(0)
	d.closes(c, "exit 0")
}

func TestAProgramThatDoesNotFinishIsStopped(t *testing.T) {
	for _, c := range []struct{ name, script, said string }{
		{"it says goodbye", "trap 'echo bye; exit' TERM; echo here; sleep 1000 & wait", "bye\n"},
		{"it does not care", "trap '' TERM; echo here; while :; do sleep 1000; done", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, shell(c.script))
			d.srv.stopGrace = 50 * time.Millisecond
			d.open()
			k := d.client()
			k.hear("here\n")
			if err := d.srv.Shutdown(over()); err == nil {
				t.Error("got nil, want the number of those who did not finish")
			}
			if got := k.hearEnd(); c.said != "" && got != c.said {
				t.Errorf("heard %q, want %q", got, c.said)
			}
			d.closes(k, "drain")
		})
	}
}

// TestAProgramThatStartsTooLateIsStopped: the time to finish may be over before it runs.
func TestAProgramThatStartsTooLateIsStopped(t *testing.T) {
	d := newDesk(t, running("/bin/cat")).open()
	d.srv.expired.Store(true)
	c := d.client()
	c.hearEnd()
	d.closes(c, "drain")
}

// TestNobodyHearsAProgramThatHasEnded: who has left its group, and holds its standard error, holds nothing of the daemon's.
func TestNobodyHearsAProgramThatHasEnded(t *testing.T) {
	d := newDesk(t, shell("setsid sleep 1000 & echo $!; read line")).open()
	goroutines := runtime.NumGoroutine()
	c := d.client()
	pid, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(strings.TrimSpace(pid))
	defer unix.Kill(n, unix.SIGKILL)
	eventually(t, func() bool { sid, _ := unix.Getsid(n); return sid == n }, func() { t.Error("it stays in its session") })
	c.say("go\n")
	d.closes(c, "exit 0")
	eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines }, func() {
		t.Errorf("goroutines: got %d, want %d", runtime.NumGoroutine(), goroutines)
	})
}

// TestAProgramMayAnswerWhoStillSends: what is under way to the client is not lost for what it sent in vain.
func TestAProgramMayAnswerWhoStillSends(t *testing.T) {
	const size = 60_000
	d := newDesk(t, shell(fmt.Sprintf("read line; read more; head -c %d /dev/zero", size))).open()
	c := dial(t, d.ln.addr.String(), &net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	}})
	c.say("question\n" + strings.Repeat("more\n", 1000))
	d.closes(c, "exit 0")
	d.awaitClients(0)
	if got := c.hearEnd(); len(got) != size {
		t.Errorf("heard %d bytes, want %d", len(got), size)
	}
}

// TestAProgramBlocksOnAClientThatDoesNotRead, and writes all the same what it has to say.
func TestAProgramBlocksOnAClientThatDoesNotRead(t *testing.T) {
	const size = 32 << 20
	d := newDesk(t, shell(fmt.Sprintf("head -c %d /dev/zero && echo done >&2", size))).open()
	c := d.client()
	time.Sleep(20 * time.Millisecond) // it has filled what the kernel holds, most likely
	if n, err := io.Copy(io.Discard, c); n != size || err != nil {
		t.Errorf("heard %d bytes and %v, want %d", n, err, size)
	}
	d.log.await(t, "line=done")
}

func TestAProgramKeepsWhatItBeganWith(t *testing.T) {
	d := newDesk(t, shell("echo old; cat")).open()
	old := d.client()
	old.hear("old\n")
	change := defaults(shell("echo new; cat")).Listeners[0]
	d.ln.configure(change, 0)
	d.srv.nudge()
	d.client().hear("new\n")
	old.say("still")
	old.hear("still")
}

// TestProgramsLeaveNothingBehind: no process, no descriptor, no goroutine, no place.
func TestProgramsLeaveNothingBehind(t *testing.T) {
	d := newDesk(t, running("/bin/cat")).open()
	d.leavesNothing(150, func() *client {
		c := d.client()
		c.say("hello")
		c.hear("hello")
		return c
	})
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		if children, err := os.ReadFile(list); err == nil && len(children) > 0 {
			t.Errorf("got processes %s, want none", children)
		}
	}
}

func TestAProgramOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		lacks(t, "root", "only root can act for another user")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		lacks(t, "user nobody", err.Error())
	}
	for name, change := range map[string]func(*config.Config){"at once": func(*config.Config) {}, "by the starter": limited} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, and(shell(`id -u; id -g; id -G; echo $USER $LOGNAME $HOME; grep CapEff /proc/self/status`), change, func(c *config.Config) {
				c.Listeners[0].ExecUser = "nobody"
			})).open()
			want := fmt.Sprintf("%s\n%s\n%s\nnobody nobody %s\nCapEff:\t0000000000000000\n", nobody.Uid, nobody.Gid, nobody.Gid, nobody.HomeDir)
			if got := d.client().hearEnd(); got != want {
				t.Errorf("heard %q, want %q", got, want)
			}
		})
	}
}

// TestProgramsAreTriedAtTheStart: what cannot work is told before a client comes.
func TestProgramsAreTriedAtTheStart(t *testing.T) {
	dir := t.TempDir() // of a mode that lets only its owner in, or a file in it
	private := filepath.Join(dir, "handler")
	if err := os.WriteFile(private, []byte("#!/bin/sh\n"), 0o744); err != nil {
		t.Fatal(err)
	}
	nobody := func(c *config.Config) { c.Listeners[0].ExecUser = "nobody" }
	for _, c := range []struct {
		name, want string
		change     func(*config.Config)
	}{
		{"none", "", nil},
		{"it works", "", running("/bin/cat")},
		{"it works for another user", "", and(running("/bin/cat"), nobody)},
		{"nobody may", `listener "tcpmux": exec "` + private + `": permission denied (user "nobody" must be able to execute it`, and(running(private), nobody)},
		{"no such user", `listener "tcpmux": exec_user "no-such": user: unknown user no-such`, and(running("/bin/cat"), func(c *config.Config) { c.Listeners[0].ExecUser = "no-such" })},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := defaults(c.change)
			if os.Geteuid() != 0 && cfg.Listeners[0].ExecUser == "nobody" {
				lacks(t, "root", "only root can act for another user")
			}
			err := checkPrograms(cfg.Listeners)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want no error", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, config.ErrInvalid)):
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}
