package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/clitest"
	"tcpmux/internal/await"

	"golang.org/x/sys/unix"
)

const (
	recordHead = `{"time":"2026-11-22T12:00:00.000000Z","kind":"`
	recordWho  = `","listener":"tcpmux","session":"8f3a-2c","remote":"192.0.2.7:40312"`
	recordOpen = recordHead + "open" + recordWho + "}\n"
)

// recordMessage is the record of a message that ends with LF. data is written as it is.
func recordMessage(offset int, data string) string {
	return fmt.Sprintf(recordHead+"message"+recordWho+`,"offset":%d,"data":"%s","end":"\u000a"}`+"\n", offset, data)
}

func TestVerifyAndCatOutcomes(t *testing.T) {
	whole := write(t, "whole.log", recordOpen+recordMessage(0, "a")+recordMessage(0, "a"))
	holed := write(t, "holed.log", recordOpen+recordMessage(0, "a")+recordMessage(7, "b"))
	text := write(t, "text.log", "2026-11-22T12:00:00.000000Z from 192.0.2.7:40312: a\n")
	chunks := write(t, "chunks.log", strings.ReplaceAll(recordMessage(0, "a")+recordMessage(2, "b"), `,"end":"\u000a"`, ""))
	const fault = ":3: session 8f3a-2c: 5 bytes are missing: the message begins at offset 7, what came before ends at 2\n"
	for _, c := range []struct {
		name           string
		args           []string
		status         int
		stdout, stderr string
	}{
		{"whole", []string{"verify", whole}, 0, "1 file, 1 session, 1 message, 2 bytes\n1 session without a close: still open, or the daemon was killed\n" +
			"1 message recorded again after a crash, which is no fault\nwhole: no byte is missing between the first record of each session and its last\n", ""},
		{"verbose", []string{"verify", "-v", whole}, 0, whole + ":3: session 8f3a-2c: what begins at offset 0 is recorded again, after a crash: no fault if it says the same\n", ""},
		{"a fault", []string{"verify", holed}, 1, holed + fault, "tcpmux: verify: 1 fault\n"},
		{"a fault is told at the end", []string{"verify", holed}, 1, "\nnot whole: 1 fault\n", "tcpmux: verify: 1 fault\n"},
		{"text", []string{"verify", text}, 0, "no fault, and no proof: text records", ""},
		{"a chunk of one byte missing", []string{"verify", chunks}, 1, chunks + ":2: session 8f3a-2c: 1 bytes are missing", "tcpmux: verify: 1 fault\n"},
		{"no file", []string{"verify"}, 64, "", "tcpmux: no FILE, want one or more; see \"tcpmux help verify\"\n"},
		{"no such file", []string{"verify", whole + "x"}, 1, "", "open record file \"" + whole + "x\": no such file or directory\n"},
		{"a directory", []string{"verify", filepath.Dir(whole)}, 1, "", "is not a regular file\n"},
		{"cat", []string{"cat", whole}, 0, "a\n", ""},
		{"cat with a fault", []string{"cat", holed}, 1, "a\nb\n", holed + ":3: session 8f3a-2c: 5 bytes are missing before offset 7\n"},
		{"cat of a client", []string{"cat", "--remote", "192.0.2.7", text}, 0, "a\n", ""},
		{"cat of some time", []string{"cat", "--since", "2026-11-22T13:00+01:00", "--until", "2026-11-22 12:01", whole}, 64, "", `--since is "2026-11-22T13:00+01:00", want a time such as`},
		{"cat of an hour", []string{"cat", "--since", "2026-11-22T13:00:00+01:00", "--until", "2026-11-22 12:01", whole}, 0, "a\n", ""},
		{"cat until a day", []string{"cat", "--until", "2026-11-22", whole}, 0, "", ""},
		{"cat since lately", []string{"cat", "--since", "90m", whole}, 0, "", ""},
		{"cat of nobody", []string{"cat", "--remote", "alice", whole}, 64, "", `--remote "alice" is no address: want ADDRESS or ADDRESS:PORT`},
		{"cat of no file", []string{"cat"}, 64, "", "no FILE, want one or more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := clitest.Outcome(t, tcpmux(t, c.args...))
			if status != c.status {
				t.Errorf("status: got %d, want %d", status, c.status)
			}
			clitest.Contains(t, "stdout", stdout, c.stdout)
			clitest.Contains(t, "stderr", stderr, c.stderr)
		})
	}
}

// verifiedJSON is what verify --json prints.
type verifiedJSON struct {
	Findings []struct {
		File string
		Line int
		What string
	}
	Files                   []struct{ Name, Format string }
	Whole, Proven           bool
	Faults, Sessions, Bytes int64
	Repeated, Earlier, Open int64
}

func TestVerifyJSON(t *testing.T) {
	holed := write(t, "holed.log", recordOpen+recordMessage(0, "a")+recordMessage(7, "b")+"\x1b\n")
	status, stdout, _ := clitest.Outcome(t, tcpmux(t, "verify", "--json", holed))
	var got verifiedJSON
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%s: %v", stdout, err)
	}
	if status != 1 || got.Whole || got.Faults != 2 || len(got.Findings) != 2 || got.Findings[0].Line != 3 || got.Findings[0].File != holed ||
		len(got.Files) != 1 || got.Files[0].Format != "json" {
		t.Errorf("got status %d and %+v, want two faults, the first in line 3", status, got)
	}
	status, stdout, _ = clitest.Outcome(t, tcpmux(t, "verify", "--json", write(t, "whole.log", recordOpen)))
	got = verifiedJSON{}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || status != 0 || !got.Whole || !got.Proven || got.Findings == nil || len(got.Findings) > 0 {
		t.Errorf("got status %d and %s (%v), want it proven", status, stdout, err)
	}
}

func TestVerifyAtATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	x := atTerminal(t, "verify", write(t, "holed.log", recordOpen+recordMessage(7, "b")))
	x.See("\r\x1b[K")
	x.See("holed.log:2: session 8f3a-2c: 7 bytes are missing")
	x.See("\r\x1b[Knot whole: 1 fault")
	x.Ends(1)
}

func TestCatAtATerminalIsSafe(t *testing.T) {
	file := write(t, "hostile.log", recordMessage(0, `\u001b]0;owned\u0007\\`))
	x := atTerminal(t, "cat", file)
	x.See(`\x1b]0;owned\x07\\` + "\r\n")
	x.Ends(0)
	if _, stdout, _ := clitest.Outcome(t, tcpmux(t, "cat", file)); stdout != "\x1b]0;owned\x07\\\n" {
		t.Errorf("got %q, want the exact bytes", stdout)
	}
}

// TestCatOfNothingSaysSo at a terminal, and nowhere else.
func TestCatOfNothingSaysSo(t *testing.T) {
	const said = "these flags select nothing that clients sent"
	file := write(t, "short.log", recordOpen+recordMessage(0, "a"))
	x := atTerminal(t, "cat", "--remote", "198.51.100.1", file)
	x.See("tcpmux: cat: " + said + "\r\n")
	x.Ends(0)
	x = atTerminal(t, "cat", write(t, "empty.log", ""))
	x.Ends(0)
	x.Key("typed") // and shown by the terminal, behind all that the program has said
	if got := x.See("typed"); got != "typed" {
		t.Errorf("without a flag: got %q, want nothing", got)
	}
	if status, stdout, stderr := clitest.Outcome(t, tcpmux(t, "cat", "--remote", "198.51.100.1", file)); status != 0 || stdout != "" || stderr != "" {
		t.Errorf("got status %d, %q and %q, want 0 and nothing", status, stdout, stderr)
	}
}

// TestWhatClientsSentIsGivenBack to the byte, over rotations and compression, of random clients of
// a real daemon; and the files are proven whole, also while it runs.
func TestWhatClientsSentIsGivenBack(t *testing.T) {
	const clients, size = 12, 60 << 10
	for _, model := range []string{"goroutine", "thread", "process"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "records.log")
			d, address := daemonOf(t, settings(t, dir, "127.0.0.1:0", "model = \""+model+"\"\nmax_message = \"500B\"", "format = \"json\"\nmax_size = \"128KiB\"\nmax_backups = 0"))
			var talking sync.WaitGroup
			sent := make(map[string][]byte)
			for i := range clients {
				conn, text := greeted(t, address), speech(uint64(i), size)
				sent[conn.LocalAddr().String()] = text
				talking.Go(func() { speak(conn, text, uint64(i)) })
			}
			proven(t, path)
			talking.Wait()
			d.stops(dir)
			got := proven(t, path)
			if got.Sessions != clients || got.Bytes != clients*size || len(got.Files) < 3 {
				t.Errorf("got %+v, want %d sessions and %d bytes in several files", got, clients, clients*size)
			}
			for remote, want := range sent {
				if _, stdout, stderr := clitest.Outcome(t, tcpmux(t, "cat", "--backups", "--remote", remote, path)); !bytes.Equal([]byte(stdout), want) {
					t.Errorf("%s: got %d bytes (%q), want the %d that it sent", remote, len(stdout), stderr, len(want))
				}
			}
		})
	}
}

// proven verifies the files of a record file, and fails when something is missing.
func proven(t *testing.T, path string) (got verifiedJSON) {
	t.Helper()
	status, stdout, stderr := clitest.Outcome(t, tcpmux(t, "verify", "--json", "--backups", path))
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || status != 0 || !got.Proven {
		t.Errorf("verify: got status %d, %s, %s (%v), want it proven", status, stdout, stderr, err)
	}
	return got
}

// speech is bytes with line ends of both kinds among them, and longer stretches without.
func speech(seed uint64, size int) []byte {
	rnd, b := rand.New(rand.NewPCG(seed, 2)), make([]byte, size)
	for i := range b {
		b[i] = byte(rnd.Uint32())
		if i/4096%2 == 0 && rnd.IntN(20) == 0 {
			b[i] = "\n\r"[rnd.IntN(2)]
		}
	}
	return b
}

// speak sends text in random segments, waits until the daemon has said nothing more, and goes.
func speak(conn *net.TCPConn, text []byte, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 3))
	for len(text) > 0 {
		n := min(len(text), 1+rnd.IntN(3000))
		if _, err := conn.Write(text[:n]); err != nil {
			return
		}
		text = text[n:]
	}
	_ = conn.CloseWrite()
	_, _ = io.Copy(io.Discard, conn) // until the daemon has taken all and closes
	_ = conn.Close()
}

// TestToolsEndAtASignal at once, whatever they wait for, with the conventional status.
func TestToolsEndAtASignal(t *testing.T) {
	// Of the pipe that standard output is: a line that does not fit whole is not begun.
	const size, full = 4096, 3500
	many := write(t, "many.log", strings.Repeat("x\n", 2000))
	long := write(t, "long.log", recordOpen+recordMessage(0, strings.Repeat("a", 1<<20)))
	for _, c := range []struct {
		name   string
		args   []string
		stdin  string // what comes, and no end behind it
		holds  int    // at least so many bytes are in standard output, which nobody reads
		signal syscall.Signal
	}{
		{"verify waits for input", []string{"verify", "-"}, "x\n", 1, syscall.SIGINT},
		{"cat waits for input", []string{"cat", "-"}, recordMessage(0, "a"), 1, syscall.SIGTERM},
		{"nobody takes what verify finds", []string{"verify", many}, "", full, syscall.SIGINT},
		{"nobody takes what verify finds, as JSON", []string{"verify", "--json", many}, "", full, syscall.SIGHUP},
		{"nobody takes what cat gives", []string{"cat", long}, "", full, syscall.SIGTERM},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdin, typed := pipe(t)
			r, stdout := pipe(t)
			if _, err := unix.FcntlInt(stdout.Fd(), unix.F_SETPIPE_SZ, size); err != nil {
				t.Fatal(err)
			}
			// Where the tests run under nohup(1), the program would inherit that a signal is ignored.
			caught := make(chan os.Signal, 1)
			signal.Notify(caught, c.signal)
			defer signal.Stop(caught)
			cmd := tcpmux(t, c.args...)
			cmd.Stdin, cmd.Stdout = stdin, stdout
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := typed.WriteString(c.stdin); err != nil {
				t.Fatal(err)
			}
			n := 0
			await.Until(t, func() bool {
				n, _ = unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ) // 0 on error
				return n >= c.holds
			}, func() { t.Errorf("got %d bytes of output, want %d", n, c.holds) })
			if err := cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			ends(t, cmd, 128+int(c.signal))
		})
	}
}

// TestVerifyEndsWhenNobodyReads what it finds.
func TestVerifyEndsWhenNobodyReads(t *testing.T) {
	r, stdout := pipe(t)
	stdin, typed := pipe(t)
	cmd := tcpmux(t, "verify", "-")
	cmd.Stdin, cmd.Stdout = stdin, stdout
	if err := errors.Join(r.Close(), cmd.Start()); err != nil {
		t.Fatal(err)
	}
	if _, err := typed.WriteString("x\n"); err != nil {
		t.Fatal(err)
	}
	ends(t, cmd, cli.StatusFailed)
}

// ends waits for a program to end with that status by itself.
func ends(t *testing.T, cmd *exec.Cmd, status int) {
	t.Helper()
	// It has ended where that fails.
	defer time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }).Stop()
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != status {
		t.Errorf("got %v, want exit status %d", cmd.ProcessState, status)
	}
}
