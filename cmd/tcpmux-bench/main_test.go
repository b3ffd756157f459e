package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tcpmux/cmd/internal/clitest"
)

// built is the program under test; the daemon that it compares lies next to it.
var built string

func TestMain(m *testing.M) { os.Exit(buildAndTest(m)) }

func buildAndTest(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tcpmux")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		if built, err = clitest.Build(dir, "."); err == nil {
			_, err = clitest.Build(dir, "../tcpmux")
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return clitest.Program(t, built, args...)
}

func atTerminal(t *testing.T, args ...string) *clitest.Terminal {
	t.Helper()
	return clitest.Start(t, program(t, args...))
}

// hold reads until the client closes.
func hold(conn *net.TCPConn) { _, _ = io.Copy(io.Discard, conn) }

// greeter is a server that greets, and reads until the client closes.
func greeter(t *testing.T) string {
	t.Helper()
	return clitest.Listen(t, func(conn *net.TCPConn) {
		_, _ = conn.Write([]byte("Welcome connect!\n"))
		hold(conn)
	})
}

func TestBenchExitStatus(t *testing.T) {
	server, nobody := greeter(t), clitest.Refused(t)
	for _, c := range []struct {
		name           string
		args           []string
		status         int
		stdout, stderr string // parts; "" is empty
	}{
		{"visits", []string{"--count", "20", server}, 0, "20 in ", ""},
		{"host and port", append([]string{"--count", "20"}, strings.Split(server, ":")...), 0, "errors    none\n", ""},
		{"refused", []string{"--count", "20", nobody}, 1, "errors    refused 20\n", `tcpmux-bench: bench "` + nobody + `": 20 visits failed: refused 20; is the server running?` + "\n"},
		{"another greeting", []string{"--count", "5", "--expect", "Hello", server}, 1, "wrong greeting 5\n", "5 visits failed"},
		{"another machine", []string{"192.0.2.1:9"}, 64, "", `tcpmux-bench: "192.0.2.1:9" is 192.0.2.1: bench puts a load on this machine only; --allow-remote`},
		{"no such workload", []string{"--workload", "party"}, 64, "", `workload "party", want one of visits, idle, lines, volume, trickle; see "tcpmux-bench --help"`},
		{"no such framing", []string{"--framing", "lines"}, 64, "", `--framing "lines", want one of line, nul, chunk, octet-counted, length-prefixed, delimited, fixed, silence; see`},
		{"no room for a count", []string{"--workload", "lines", "--framing", "octet-counted", "--size", "7"}, 64, "", `--size is 7, want at least 8 with --framing octet-counted; see`},
		{"too many clients", []string{"--clients", "100001", "--count", "-1"}, 64, "", `--clients is 100001, want 1 to 100000; --count is -1, want 1 to 100000000; see`},
		{"no clients", []string{"--clients", "0"}, 64, "", `--clients is 0, want more than that`},
		{"no time", []string{"--duration", "0s"}, 64, "", `--duration is 0s, want more than that`},
		{"two forms", []string{"--json", "--csv"}, 64, "", `--json together with --csv`},
		{"a plot of one", []string{"--plot", "x.svg"}, 64, "", `--plot without --compare`},
		{"a plot of no kind", []string{"--compare", "--plot", "x.jpg"}, 64, "", `--plot "x.jpg", want a name that ends in .svg or .png`},
		{"compare with an address", []string{"--compare", server}, 64, "", `together with --compare`},
		{"too many runs", []string{"--compare", "--runs", "21"}, 64, "", `--runs is 21, want 1 to 20`},
		{"no port", []string{"a"}, 64, "", `address "a": want HOST:PORT`},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := clitest.Outcome(t, program(t, c.args...))
			if status != c.status {
				t.Errorf("status: got %d, want %d", status, c.status)
			}
			clitest.Contains(t, "stdout", stdout, c.stdout)
			clitest.Contains(t, "stderr", stderr, c.stderr)
		})
	}
}

func TestBenchTellsHowToGetDescriptors(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -n 200; exec "$0" --clients 1000 `+clitest.Refused(t), built)
	status, stdout, stderr := clitest.Outcome(t, cmd)
	const want = `tcpmux-bench: 1000 clients need 1064 descriptors and the limit is 200: use --clients 136, or raise it as root with "ulimit -Hn 1064"` + "\n"
	if status != 1 || stdout != "" || stderr != want {
		t.Errorf("got status %d, %q and %q, want 1, nothing and %q", status, stdout, stderr, want)
	}
}

func TestBenchFormats(t *testing.T) {
	server := greeter(t)
	_, stdout, _ := clitest.Outcome(t, program(t, "--json", "--workload", "lines", "--clients", "3", "--count", "7", server))
	var r struct {
		Done int
		Unit string
	}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || r.Done != 21 || r.Unit != "lines" {
		t.Errorf("got %q (%v), want 21 lines", stdout, err)
	}
	_, stdout, _ = clitest.Outcome(t, program(t, "--csv", "--count", "7", server))
	if rows, err := csv.NewReader(strings.NewReader(stdout)).ReadAll(); err != nil || len(rows) != 2 || rows[1][0] != "visits" {
		t.Errorf("got %q (%v), want a header and a row of visits", stdout, err)
	}
}

func TestBenchBarAtATerminal(t *testing.T) {
	server := greeter(t)
	const green = "\x1b[32m"
	for _, c := range []struct {
		name, env string
		colour    bool
	}{{"in colour", "NO_COLOR=", true}, {"without colour", "NO_COLOR=1", false}} {
		t.Run(c.name, func(t *testing.T) {
			name, value, _ := strings.Cut(c.env, "=")
			t.Setenv(name, value)
			t.Setenv("TERM", "xterm")
			x := atTerminal(t, "--workload", "idle", "--clients", "5", "--duration", "500ms", server)
			got := x.See("hold [")
			got += x.See("%")
			got += x.See("\r\x1b[Kidle: ") // it is wiped away before the table
			if strings.Contains(got, green) != c.colour {
				t.Errorf("got %q, want colour: %v", got, c.colour)
			}
			x.See("errors")
			x.Ends(0)
		})
	}
	t.Run("dumb", func(t *testing.T) {
		t.Setenv("TERM", "dumb")
		x := atTerminal(t, "--workload", "idle", "--clients", "5", "--duration", "200ms", server)
		if got := x.See("idle: "); strings.ContainsAny(got, "\x1b[") {
			t.Errorf("got %q, want no bar", got)
		}
		x.Ends(0)
	})
}

func TestBenchInterruptedPrintsWhatItMeasured(t *testing.T) {
	server := greeter(t)
	for key, status := range map[string]int{"\x03": 130, "": 143} {
		x := atTerminal(t, "--count", "100000000", "--duration", "1h", server)
		x.See("/s")
		if key != "" {
			x.Key(key)
		} else {
			_ = x.Cmd.Process.Signal(syscall.SIGTERM)
		}
		x.See("(interrupted)")
		x.See("errors    none")
		x.See("most")
		x.Ends(status)
	}
}

func TestBenchCompares(t *testing.T) {
	plot, tmp := filepath.Join(t.TempDir(), "plot.svg"), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	for _, c := range []struct {
		name    string
		args    []string
		servers []string
	}{
		{"visits", []string{"--count", "20", "--runs", "2"}, []string{"tcpmux goroutine", "reference process", "reference thread", "reference coroutine"}},
		{"lines", []string{"--workload", "lines", "--count", "20", "--runs", "1"}, []string{"tcpmux goroutine", "reference process", "reference thread"}},
		{"delimited", []string{"--workload", "lines", "--framing", "delimited", "--count", "20", "--runs", "1"}, []string{"tcpmux goroutine"}},
		{"without the reference programs", []string{"--count", "20", "--runs", "1", "--reference", tmp}, []string{"tcpmux goroutine"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"--compare", "--json", "--clients", "4", "--reference", "../../contrib/reference", "--plot", plot}, c.args...)
			status, stdout, stderr := clitest.Outcome(t, program(t, args...))
			if status != 0 || stderr != "" {
				t.Fatalf("got status %d and %q, want 0 and nothing", status, stderr)
			}
			var got struct {
				Servers []struct {
					Server string
					Done   int
					Ratio  float64 `json:"rate_ratio"`
					CPU    float64 `json:"cpu_us"`
				}
			}
			if err := json.Unmarshal([]byte(stdout), &got); err != nil {
				t.Fatal(err)
			}
			for _, want := range c.servers { // models may be more
				found := false
				for _, s := range got.Servers {
					found = found || s.Server == want && s.Done >= 20 && s.Ratio > 0 && s.CPU > 0
				}
				if !found {
					t.Errorf("got %+v, want %q measured", got.Servers, want)
				}
			}
			picture, err := os.ReadFile(plot)
			if err != nil || !strings.Contains(string(picture), "tcpmux goroutine") {
				t.Errorf("plot: got %q (%v), want a bar of tcpmux goroutine", picture, err)
			}
			nothingLeft(t, tmp)
		})
	}
}

func TestBenchComparesUntilInterrupted(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	x := atTerminal(t, "--compare", "--count", "100000000", "--duration", "1h", "--reference", tmp)
	x.See("1/3 tcpmux goroutine: visits")
	x.Key("\x03")
	x.See("interrupted")
	x.Ends(130)
	nothingLeft(t, tmp)
}

// nothingLeft looks for files, and for processes whose working directory was below tmp.
func nothingLeft(t *testing.T, tmp string) {
	t.Helper()
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left in $TMPDIR: %v (%v)", left, err)
	}
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if dir, err := os.Readlink(link); err == nil && strings.HasPrefix(dir, tmp) {
			t.Errorf("%s still runs in %s", filepath.Dir(link), fmt.Sprintf("%q", dir))
		}
	}
}
