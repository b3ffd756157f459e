package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tcpmux/cmd/internal/clitest"
)

// built is the program under test.
var built string

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == watched {
		fmt.Fprintln(os.Stderr, becomeWatched(os.Args[2:]))
		os.Exit(1)
	}
	os.Exit(buildAndTest(m))
}

func buildAndTest(m *testing.M) int {
	_ = os.Unsetenv("RUNTIME_DIRECTORY") // it fails for no name
	dir, err := os.MkdirTemp("", "tcpmux")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		built, err = clitest.Build(dir, ".")
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

// written writes a configuration into a directory of its own, in which its state is.
func written(t *testing.T, forward string) (path, state string) {
	t.Helper()
	dir := t.TempDir()
	path, state = filepath.Join(dir, "tcpmux.toml"), filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("[record]\nfile = %q\nformat = \"json\"\nmin_free = \"1MiB\"\n[forward]\nstate = %q\n%s\n", filepath.Join(dir, "records.log"), state, forward)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path, state
}

func TestExitStatus(t *testing.T) {
	off, _ := written(t, "")
	wrong, _ := written(t, "servers = [\"nats://a:4222\"]\nstream = \"a.b\"\nmax_in_flight = 0")
	absent := filepath.Join(t.TempDir(), "absent.toml")
	for _, c := range []struct {
		name           string
		args           []string
		status         int
		stdout, stderr string // parts; "" is empty
	}{
		{"version", []string{"--version"}, 0, "tcpmux-forward " + clitest.Version + "\n", ""},
		{"help", []string{"help"}, 0, "Usage:\n  tcpmux-forward [--config FILE] [--once | --from FILE...]\n", ""},
		{"help about status", []string{"help", "status"}, 0, "Usage:\n  tcpmux-forward status [--json] [--config FILE]\n", ""},
		{"completion", []string{"completion", "bash"}, 0, "bash completion V2 for tcpmux-forward", ""},
		{"unknown command", []string{"statsu"}, 64, "", `unknown command "statsu" for "tcpmux-forward", did you mean status?; see "tcpmux-forward help"`},
		{"a file without --from", []string{"a.log"}, 64, "", `unexpected argument "a.log": "--from FILE..." delivers files; see`},
		{"no file", []string{"--from"}, 64, "", `--from without a file, want --from FILE... with at least one; see`},
		{"two modes", []string{"--once", "--from", "a.log"}, 64, "", `--once and --from together, want at most one of --once, --from, --forget and --accept-stream; see`},
		{"three modes", []string{"--from=a.log", "--accept-stream", "--forget"}, 64, "", `--from and --forget and --accept-stream together, want`},
		{"json for ever", []string{"--json"}, 64, "", `--json without --once, --from or --forget, which it goes with; "tcpmux-forward status --json" asks a running one; see`},
		{"json of nothing", []string{"--json", "--accept-stream"}, 64, "", `--json without --once`},
		{"unknown flag", []string{"--twice"}, 64, "", `unknown flag: --twice; see`},
		{"status of something", []string{"status", "it"}, 64, "", `unexpected argument "it"; see "tcpmux-forward help status"`},
		{"no configuration", []string{"--config", absent}, 78, "", `tcpmux-forward: read configuration "` + absent + `": no such file`},
		{"no servers", []string{"--config", off}, 78, "", "tcpmux-forward: " + off + `: it names no servers under [forward]. To deliver, add a table [forward] with servers = `},
		{"no servers once", []string{"--config", off, "--once"}, 78, "", `names no servers under [forward]`},
		{"no servers for files", []string{"--config", off, "--from", "a.log"}, 78, "", `names no servers under [forward]`},
		{"wrong keys", []string{"--config", wrong}, 78, "", wrong + ":8: "},
		{"wrong keys, all of them", []string{"--config", wrong}, 78, "", "\n" + wrong + ":9: "},
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

// TestFromTakesItsFilesAsArguments: a flag and what stands behind it, in order.
func TestFromTakesItsFilesAsArguments(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"one", []string{"--from", "a.log"}, []string{"a.log"}},
		{"several", []string{"--from", "b.log.gz", "a.log"}, []string{"b.log.gz", "a.log"}},
		{"flags behind", []string{"--from", "a.log", "--json"}, []string{"a.log"}},
		{"files in front", []string{"a.log", "--from"}, []string{"a.log"}},
		{"with =", []string{"--from=b.log", "a.log"}, []string{"b.log", "a.log"}},
		{"like a flag", []string{"--from", "--", "-a.log"}, []string{"-a.log"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &request{}
			cmd := command(os.Stdin, os.Stdout, os.Stderr)
			cmd.ResetFlags()
			r.define(cmd)
			if err := cmd.ParseFlags(c.args); err != nil {
				t.Fatal(err)
			}
			args := cmd.Flags().Args()
			if err := r.check(cmd, args); err != nil {
				t.Error(err)
			}
			if got := append(r.from.first, args...); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// dependencies are the packages in a program.
func dependencies(t *testing.T, program string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

// TestProgramsHaveOnlyWhatTheyNeed: the daemon has no code of NATS, and the forwarder nothing that
// serves clients.
func TestProgramsHaveOnlyWhatTheyNeed(t *testing.T) {
	for _, name := range dependencies(t, "../tcpmux") {
		if strings.Contains(name, "nats") || strings.Contains(name, "synadia") || strings.Contains(name, "tcpmux-forward") {
			t.Errorf("tcpmux: got package %s, want none of the forwarder", name)
		}
	}
	not := []string{"tcpmux/daemon", "tcpmux/daemon/server", "tcpmux/daemon/session", "tcpmux/daemon/sink", "tcpmux/daemon/handover",
		"tcpmux/daemon/worker", "tcpmux/daemon/control/client"}
	for _, name := range dependencies(t, ".") {
		if slices.Contains(not, name) || strings.HasPrefix(name, "tcpmux/cmd/tcpmux/") {
			t.Errorf("tcpmux-forward: got package %s, want none of the daemon's work", name)
		}
	}
}
