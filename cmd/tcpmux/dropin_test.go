package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/config"
)

// withDropIns writes a configuration and its drop-ins, by their names.
func withDropIns(t *testing.T, text string, dropIns map[string]string) (path string) {
	t.Helper()
	path = write(t, "main.toml", text)
	if err := os.Mkdir(config.DropInDir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range dropIns {
		if err := os.WriteFile(filepath.Join(config.DropInDir(path), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

const (
	oneListener   = "[[listener]]\nname = \"one\"\naddress = \"127.0.0.1:7001\"\n"
	otherListener = "[[listener]]\nname = \"other\"\naddress = \"127.0.0.1:7002\"\n"
)

// TestCheckShowsWhereListenersComeFrom, and prints one file of all, which is a configuration.
func TestCheckShowsWhereListenersComeFrom(t *testing.T) {
	path := withDropIns(t, oneListener, map[string]string{"\x1b.toml": otherListener})
	status, first, stderr := clitest.Outcome(t, tcpmux(t, "check", path))
	if status != 0 || stderr != "" {
		t.Errorf("got status %d and %q, want 0 and no warning", status, stderr)
	}
	clitest.Contains(t, "stdout", first, "\n# from "+path+"\n[[listener]]\nname = \"one\"\n")
	clitest.Contains(t, "stdout", first, "\n# from \""+path+`.d/\x1b.toml"`+"\n[[listener]]\nname = \"other\"\n")
	status, second, _ := clitest.Outcome(t, tcpmux(t, "check", write(t, "b.toml", first)))
	var plain []string
	for line := range strings.Lines(first) {
		if !strings.HasPrefix(line, "# from ") {
			plain = append(plain, line)
		}
	}
	if want := strings.Join(plain, ""); status != 0 || second != want {
		t.Errorf("checking what check printed: got status %d and\n%s\nwant\n%s", status, second, want)
	}
}

func TestCheckOfDropInsTellsEveryFault(t *testing.T) {
	path := withDropIns(t, "backlog = -1\n"+oneListener, map[string]string{"a.toml": oneListener, "b.toml": otherListener, "c.toml": "banner = 'x'\n"})
	status, _, stderr := clitest.Outcome(t, tcpmux(t, "check", "-q", path))
	want := []string{path + ":1: backlog is -1", path + ".d/a.toml:2: ", path + ".d/a.toml:3: ", path + ".d/c.toml:1: banner "}
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if status != 78 || len(lines) != len(want) {
		t.Fatalf("got status %d and\n%swant 78 and %d lines", status, stderr, len(want))
	}
	for i := range want {
		clitest.Contains(t, "line", lines[i], want[i])
	}
}

func TestCheckAsJSON(t *testing.T) {
	good := withDropIns(t, "idle_timeout = \"5ms\"\n", map[string]string{"a.toml": oneListener, "b.toml": ""})
	bad := withDropIns(t, "\nbacklog = -1\n", map[string]string{"a.toml": "["})
	record := `record.file is "records.log": there is no directory "/none"`
	for _, c := range []struct {
		name, path string
		status     int
		want       checked
	}{
		{"good", good, 0, checked{
			File: good, DropIns: []string{good + ".d/a.toml", good + ".d/b.toml"},
			Listeners: []checkedListener{{config.MainListener, good, []string{"127.0.0.1:12345"}}, {"one", good + ".d/a.toml", []string{"127.0.0.1:7001"}}},
			Errors:    []checkedError{},
			Warnings:  []string{good + `:1: idle_timeout is "5ms": most clients are closed before they have sent anything`, record},
		}},
		{"bad", bad, 78, checked{
			File: bad, DropIns: []string{}, Listeners: []checkedListener{}, Warnings: []string{},
			Errors: []checkedError{{bad, 2, "backlog is -1, want a whole number from 1 to 1000000"},
				{bad + ".d/a.toml", 1, "not TOML: a table begins with [NAME] on a line of its own (unexpected end of table name (table names cannot be empty))"}},
		}},
		{"missing", bad + "x", 78, checked{
			File: bad + "x", DropIns: []string{}, Listeners: []checkedListener{}, Warnings: []string{},
			Errors: []checkedError{{bad + "x", 0, `read configuration "` + bad + `x": no such file or directory`}},
		}},
	} {
		cmd := tcpmux(t, "check", "--json", c.path)
		cmd.Env = append(os.Environ(), "LOGS_DIRECTORY=/none")
		status, stdout, _ := clitest.Outcome(t, cmd)
		var got checked
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || status != c.status || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got status %d, %v and\n%+v\nwant %d and\n%+v", c.name, status, err, got, c.status, c.want)
		}
	}
}

func TestDropInsWithoutAFile(t *testing.T) {
	path := withDropIns(t, "", nil)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want := path + ": there is no such file; the built-in defaults hold, and nothing in " + path + ".d is read\n"
	var stderr strings.Builder
	cfg, err := loadToStart(path, false, &stderr)
	if err != nil || !reflect.DeepEqual(cfg, config.Default()) || stderr.String() != want {
		t.Errorf("got %+v, %v and %q, want the defaults and %q", cfg, err, stderr.String(), want)
	}
}
