package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tcpmux/cmd/internal/clitest"
)

// asGenerator is the program under its other name.
func asGenerator(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	cmd := tcpmux(t, args...)
	cmd.Args[0] = "/usr/lib/systemd/system-generators/tcpmux-generator"
	// As systemd has it, but for $SYSTEMD_SCOPE: nothing of a test goes to the journal.
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	return clitest.Outcome(t, cmd)
}

func TestGenerator(t *testing.T) {
	good := write(t, "good.toml", "address = \":7000\"\n")
	bad := write(t, "bad.toml", "backlog = -1\nmodell = \"x\"\n")
	dropIn := withDropIns(t, "", map[string]string{"a.toml": oneListener, "b.toml": oneListener})
	for _, c := range []struct {
		name   string
		args   []string // before the directories
		dirs   int
		status int
		stderr []string // parts, one a line
		made   bool
	}{
		{"good file", []string{"--config", good}, 3, 0, nil, true},
		{"no file", []string{"--config", good + "x"}, 3, 0, nil, false},
		{"bad file", []string{"--config", bad}, 3, 1, []string{":1: backlog is -1", ":2: modell is not a key", "nothing is taken from " + bad}, false},
		{"bad drop-in", []string{"--config", dropIn}, 3, 1,
			[]string{dropIn + ".d/b.toml:2: ", dropIn + ".d/b.toml:3: ", "nothing is taken from " + dropIn + " and its drop-ins"}, false},
		{"too few directories", []string{"--config", good}, 2, 64, []string{"usage:"}, false},
		{"a command", []string{"run"}, 0, 64, []string{"usage:"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			status, stdout, stderr := asGenerator(t, append(c.args, []string{dir, "early", "late"}[:c.dirs]...)...)
			if status != c.status || stdout != "" {
				t.Errorf("got status %d and output %q, want %d and none", status, stdout, c.status)
			}
			lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
			if stderr == "" {
				lines = nil
			}
			if len(lines) != len(c.stderr) {
				t.Fatalf("stderr: got %q, want %d lines", stderr, len(c.stderr))
			}
			for i, want := range c.stderr {
				clitest.Contains(t, "stderr", lines[i], want)
			}
			_, err := os.Stat(filepath.Join(dir, "tcpmux.socket.d/50-tcpmux.conf"))
			if made := err == nil; made != c.made {
				t.Errorf("drop-in made: got %v, want %v", made, c.made)
			}
		})
	}
}
