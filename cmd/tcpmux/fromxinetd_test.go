package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/config"
)

var updateXinetd = flag.Bool("update-xinetd", false, "write the .want and .told files of contrib/xinetd")

// fromXinetd runs contrib/xinetd/tcpmux-from-xinetd in its testdata.
func fromXinetd(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Fatalf("%v: apt-get install python3", err)
	}
	cmd := exec.Command("../tcpmux-from-xinetd", append([]string{"--services", "services"}, args...)...)
	cmd.Dir = "../../contrib/xinetd/testdata"
	return clitest.Outcome(t, cmd)
}

// What a machine of tests has not: the programs and users of the configurations.
var (
	programs = regexp.MustCompile(`(?m)^exec = \["[^"]*"`)
	users    = regexp.MustCompile(`(?m)^exec_user = .*$`)
)

// TestXinetdIsConverted, from the configurations of Debian's and BSD's inetd and of Red Hat's
// xinetd, and from ones with everything else: check takes what comes out of it.
func TestXinetdIsConverted(t *testing.T) {
	for name, files := range map[string][]string{
		"debian":  {"debian-inetd.conf"},
		"bsd":     {"bsd-inetd.conf"},
		"redhat":  {"redhat/xinetd.conf"},
		"files":   {"redhat/xinetd.d"},
		"odd":     {"odd/xinetd.conf"},
		"hostile": {"hostile-inetd.conf"},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := fromXinetd(t, files...)
			if status != 0 {
				t.Fatalf("got status %d and %q, want 0", status, stderr)
			}
			for suffix, got := range map[string]string{".want": stdout, ".told": stderr} {
				path := "../../contrib/xinetd/testdata/" + name + suffix
				if *updateXinetd {
					if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil || got != string(want) {
					t.Errorf("%s: got\n%s\nwant\n%s(%v)", suffix, got, want, err)
				}
				for line := range strings.Lines(got) {
					if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r < ' ' || r == 0x202e || r == 0x7f }) {
						t.Errorf("%s: got %q, which can drive a terminal", suffix, line)
					}
				}
			}
			text := programs.ReplaceAllString(stdout, `exec = ["/bin/cat"`)
			text = users.ReplaceAllString(text, `exec_user = "nobody"`)
			status, _, stderr = clitest.Outcome(t, tcpmux(t, "check", "--quiet", write(t, "tcpmux.toml", text)))
			if status != 0 {
				t.Errorf("check: got status %d and %q for\n%s", status, stderr, text)
			}
			dir := t.TempDir()
			main := filepath.Join(dir, "tcpmux.toml")
			for path, text := range map[string]string{main: "address = []\n", filepath.Join(config.DropInDir(main), "xinetd.toml"): text} {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if status, _, stderr = clitest.Outcome(t, tcpmux(t, "check", "--quiet", main)); status != 0 {
				t.Errorf("check of a drop-in: got status %d and %q", status, stderr)
			}
		})
	}
}

func TestFromXinetdStatus(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"no-such-file"}, 1, "no-such-file: No such file or directory"},
		{[]string{"--wrong"}, 64, "--wrong: want --services FILE, or files and directories"},
		{[]string{"--services=no-such-file", "debian-inetd.conf"}, 0, "port of no-such-port"},
	} {
		status, _, stderr := fromXinetd(t, c.args...)
		if status != c.status || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: got status %d and %q, want %d and %q", c.args, status, stderr, c.status, c.want)
		}
	}
	if status, stdout, _ := fromXinetd(t, "--help"); status != 0 || !strings.Contains(stdout, "tcpmux-from-xinetd") {
		t.Errorf("help: got status %d and %q", status, stdout)
	}
}

// TestXinetdFilesWithoutAName: no file has a NUL in its name.
func TestXinetdFilesWithoutAName(t *testing.T) {
	path := write(t, "xinetd.conf", "include /etc\x00x\nincludedir a\x00b\nservice echo\n{\ntype = INTERNAL\nbanner = /etc/motd\x00\n}\n")
	status, stdout, stderr := fromXinetd(t, path)
	if status != 0 || !strings.Contains(stdout, "[[listener]]") {
		t.Errorf("got status %d, %q and %q", status, stdout, stderr)
	}
	for _, want := range []string{":1: include ", ":2: includedir ", ":6: banner = /etc/motd"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("got %q, want %q in it", stderr, want)
		}
	}
}
