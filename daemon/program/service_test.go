package program_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/servertest"
)

func TestProgramTalksToItsClient(t *testing.T) {
	eachStart(t, func(t *testing.T, change func(*config.Config)) {
		f := servertest.New(t, and(running("/bin/cat"), change)).Open()
		c := f.Client()
		c.Say("hello\n")
		c.Hear("hello\n")
		want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		go func() {
			_, _ = c.Write(want)
			_ = c.CloseWrite()
		}()
		if got := c.HearEnd(); got != string(want) {
			t.Errorf("heard %d bytes, want the %d that were sent", len(got), len(want))
		}
		f.AwaitRecords("open from "+c.Addr()+"\n", "close from "+c.Addr()+": exit 0, 0 records, 0 bytes\n")
	})
}

func TestProgramHasTheEnvironmentOfUCSPI(t *testing.T) {
	eachStart(t, func(t *testing.T, change func(*config.Config)) {
		t.Setenv("TCPMUX_SECRET", "of the daemon")
		f := servertest.New(t, and(running("/usr/bin/env"), change)).Open()
		c := f.Client()
		got := slices.Sorted(strings.Lines(c.HearEnd()))
		awaitClose(f, c, "exit 0")
		f.Log.Await(t, "session closed")
		session := regexp.MustCompile(`session=(\S+)`).FindStringSubmatch(f.Log.Line("session closed"))[1]
		local, remote := f.Addr(), c.Addr()
		want := []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n", "PROTO=TCP\n",
			"TCPLOCALIP=127.0.0.1\n", fmt.Sprintf("TCPLOCALPORT=%d\n", local.Port()),
			"TCPMUX_LISTENER=tcpmux\n", "TCPMUX_SESSION=" + session + "\n",
			"TCPREMOTEIP=127.0.0.1\n", "TCPREMOTEPORT=" + remote[strings.LastIndexByte(remote, ':')+1:] + "\n",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

func TestProgramOfAnIPv6Client(t *testing.T) {
	f := servertest.New(t, and(shell("echo $PROTO $TCPLOCALIP $TCPREMOTEIP"), func(c *config.Config) {
		c.Listeners[0].Address = []string{"[::1]:0"}
	})).Open()
	if got, want := f.Client().HearEnd(), "TCP ::1 ::1\n"; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
}

// TestProgramStartsClean: it has three descriptors, ignores and blocks no signal, is in / and in a
// session of its own, and its end of the connection blocks.
func TestProgramStartsClean(t *testing.T) {
	eachStart(t, func(t *testing.T, change func(*config.Config)) {
		closeOnExec(t)
		f := servertest.New(t, and(shell(`pwd; set -- $(cat /proc/$$/stat); echo $(( $6 - $$ ));
			sed -n 's/^Sig\(Ign\|Blk\):\t//p' /proc/self/status; grep ^flags /proc/$$/fdinfo/1; ls /proc/$$/fd; :`), change)).Open()
		got := f.Client().HearEnd()
		// Signals 32 and 33 belong to the C library; the test's own parent may have passed
		// them on.
		want := regexp.MustCompile(`^/\n0\n0{16}\n0{7}[01][08]0{7}\nflags:\t02\n0\n1\n2\n$`)
		if !want.MatchString(got) {
			t.Errorf("got %q, want %v", got, want)
		}
	})
}

func TestProgramsEndIsRecorded(t *testing.T) {
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
			f := servertest.New(t, c.change).Open()
			k := f.Client()
			k.HearEnd()
			awaitClose(f, k, c.want)
			f.Log.Await(t, c.log, "session closed")
			level := "level=DEBUG"
			if c.want == "exec" {
				level = "level=WARN"
			}
			if line := f.Log.Line("session closed"); !strings.Contains(line, level) {
				t.Errorf("got %s, want %s", line, level)
			}
		})
	}
}

func TestProgramsClientGetsTheBanner(t *testing.T) {
	f := servertest.New(t, and(shell("echo program"), func(c *config.Config) {
		c.Listeners[0].Banner = config.Text("{listener}\r\n")
	})).Open()
	if got, want := f.Client().HearEnd(), "tcpmux\r\nprogram\n"; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
}

func TestProgramsMemoryIsLimited(t *testing.T) {
	const script = "ulimit -v; dd if=/dev/zero of=/dev/null bs=256M count=1 && echo enough"
	f := servertest.New(t, and(shell(script), func(c *config.Config) { c.Listeners[0].ExecMemory = 64 << 20 })).Open()
	c := f.Client()
	if got, want := c.HearEnd(), "65536\n"; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
	awaitClose(f, c, "exit 1")
	f.Log.Await(t, "memory exhausted")
	if got, want := servertest.New(t, shell(script)).Open().Client().HearEnd(), "unlimited\nenough\n"; got != want {
		t.Errorf("without a limit: heard %q, want %q", got, want)
	}
}

func TestProgramOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		servertest.Lacks(t, "root", "only root can act for another user")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		servertest.Lacks(t, "user nobody", err.Error())
	}
	eachStart(t, func(t *testing.T, change func(*config.Config)) {
		script := `id -u; id -g; id -G; echo $USER $LOGNAME $HOME; grep CapEff /proc/self/status`
		f := servertest.New(t, and(shell(script), change, asNobody)).Open()
		want := fmt.Sprintf("%s\n%s\n%s\nnobody nobody %s\nCapEff:\t0000000000000000\n",
			nobody.Uid, nobody.Gid, nobody.Gid, nobody.HomeDir)
		if got := f.Client().HearEnd(); got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	})
}

// TestProgramAnswersClientThatStillSends: what is under way to the client is not lost because of
// what it sent in vain.
func TestProgramAnswersClientThatStillSends(t *testing.T) {
	const size = 60_000
	f := servertest.New(t, shell(fmt.Sprintf("read line; read more; head -c %d /dev/zero", size))).Open()
	c := servertest.Dial(t, f.Addr().String(), &net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096)
		})
	}})
	c.Say("question\n" + strings.Repeat("more\n", 1000))
	awaitClose(f, c, "exit 0")
	f.AwaitClients(0)
	if got := c.HearEnd(); len(got) != size {
		t.Errorf("heard %d bytes, want %d", len(got), size)
	}
}

// TestProgramBlocksOnClientThatDoesNotRead: in the end it has written everything all the same.
func TestProgramBlocksOnClientThatDoesNotRead(t *testing.T) {
	const size = 32 << 20
	f := servertest.New(t, shell(fmt.Sprintf("head -c %d /dev/zero && echo done >&2", size))).Open()
	c := f.Client()
	unread := func() (n int) {
		raw, err := c.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { n = conn.Unread(fd) })
		}
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	// The program has filled what the kernel holds once no more arrives, most likely.
	before := -1
	servertest.Eventually(t, func() bool {
		now := unread()
		full := now > 0 && now == before
		before = now
		return full
	}, func() { t.Errorf("%d bytes have arrived, and more do", before) })
	if n, err := io.Copy(io.Discard, c); n != size || err != nil {
		t.Errorf("heard %d bytes and %v, want %d", n, err, size)
	}
	f.Log.Await(t, "line=done")
}

func TestProgramKeepsTheSettingsItBeganWith(t *testing.T) {
	f := servertest.New(t, shell("echo old; cat")).Open()
	old := f.Client()
	old.Hear("old\n")
	f.Server.Configure(f.Binding(), servertest.Config(shell("echo new; cat")).Listeners[0], 0)
	f.Server.Refresh()
	f.Client().Hear("new\n")
	old.Say("still")
	old.Hear("still")
}

func TestProgramsLeaveNothingBehind(t *testing.T) { leavesNothing(t, nil) }
