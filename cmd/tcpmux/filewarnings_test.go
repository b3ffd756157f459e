package main

import (
	"net"
	"os"
	"strings"
	"testing"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/config"
)

func TestFileWarnings(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, err := range []error{
		os.Mkdir("sub", 0o700), os.Symlink("sub", "link"), os.WriteFile("file", nil, 0o600), os.Symlink("file", "alias"),
		os.WriteFile("sub/below", nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, logs, record, log string
		want                    string // in the one warning; "" is none
	}{
		{"new files", "", "records.log", "log", ""},
		{"files that are there", "", "file", "sub/below", ""},
		{"a directory behind a symbolic link", "", "link/new", "", ""},
		{"standard output", dir + "/no", "-", "", ""},
		{"directory", "", "sub", "", `record.file is "sub": there is a directory of that name`},
		{"symbolic link", "", "alias", "", `record.file is "alias": there is a symbolic link of that name`},
		{"device", "", "/dev/null", "", `record.file is "/dev/null": what has that name is no regular file`},
		{"no directory", "", "no/records.log", "", `record.file is "no/records.log": there is no directory "` + dir + `/no"`},
		{"below a file", "", "file/records.log", "", `record.file is "file/records.log": "` + dir + `/file" is no directory`},
		{"log file", "", "records.log", "no/log", `log.file is "no/log": there is no directory`},
		{"below LOGS_DIRECTORY", dir + "/sub:/elsewhere", "below", "file", ""},
		{"LOGS_DIRECTORY is not there", dir + "/no:" + dir, "file", "", `there is no directory "` + dir + `/no"`},
		{"absolute beside LOGS_DIRECTORY", dir + "/no", dir + "/file", "", ""},
		{"the same file", "", "records.log", dir + "/sub/../records.log", `the same file as record.file "records.log"`},
		{"the same file below LOGS_DIRECTORY", dir + "/sub", "x", dir + "/sub/x", `the same file as record.file "x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("LOGS_DIRECTORY", c.logs)
			cfg := config.Default()
			cfg.Record.File, cfg.Log.File = c.record, c.log
			got := fileWarnings(cfg)
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestUnixSocketsThatCannotBeMade(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", dir+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, c := range []struct{ name, address, want string }{
		{"no unix socket", "127.0.0.1:1", ""},
		{"a new one", "unix:" + dir + "/new", ""},
		{"one that is there", "unix:" + dir + "/socket", ""},
		{"a file", "unix:" + dir + "/file", "there is something else of that name"},
		{"no directory", "unix:" + dir + "/no/x", `there is no directory "` + dir + `/no"`},
		{"below a file", "unix:" + dir + "/file/x", `"` + dir + `/file" is no directory`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := socketWarnings([]config.Listener{{Name: "a", Address: []string{c.address}}})
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestForwarderThatHasNeverRun gets a warning, where there is something to deliver.
func TestForwarderThatHasNeverRun(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name, state string
		servers     []string
		want        int
	}{
		{"it has run", dir, []string{"nats://a:1"}, 0},
		{"it has not", dir + "/no", []string{"nats://a:1"}, 1},
		{"nothing to deliver", dir + "/no", nil, 0},
	} {
		cfg := config.Default()
		cfg.Record.File, cfg.Forward.State, cfg.Forward.Servers = dir+"/records.log", c.state, c.servers
		if got := fileWarnings(cfg); len(got) != c.want || c.want > 0 && !strings.Contains(got[0], "forward.state is \""+c.state+"\"") {
			t.Errorf("%s: got %q, want %d warnings of the state", c.name, got, c.want)
		}
	}
}

func TestCheckWarnsOfFiles(t *testing.T) {
	path := write(t, "a.toml", "record.file = \"/proc/no/records.log\"\n")
	for _, args := range [][]string{{"check", path}, {"check", "--quiet", path}} {
		status, _, stderr := clitest.Outcome(t, tcpmux(t, args...))
		if want := "warning: record.file is \"/proc/no/records.log\": there is no directory \"/proc/no\"\n"; status != 0 || stderr != want {
			t.Errorf("%q: got status %d and %q, want 0 and %q", args, status, stderr, want)
		}
	}
}
