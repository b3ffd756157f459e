package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// built builds the programs and writes their pages into the directory that it returns.
func built(t *testing.T) (programs []string, dir string) {
	t.Helper()
	dir = t.TempDir()
	t.Setenv("SOURCE_DATE_EPOCH", "86400")
	for _, name := range []string{"tcpmux", "tcpmux-bench", "tcpmux-forward"} {
		program := filepath.Join(dir, name)
		if out, err := exec.Command("go", "build", "-o", program, "../../cmd/"+name).CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
		if err := pages(program, dir, "1.2.3", "."); err != nil {
			t.Fatal(err)
		}
		programs = append(programs, program)
	}
	return programs, dir
}

// unroff undoes the escapes of escape and of the pages written by hand.
var unroff = strings.NewReplacer(`\-`, "-", `\(aq`, "'", `\(ga`, "`", `\(ha`, "^", `\(ti`, "~", `\(dq`, `"`, `\e`, `\`, `\fB`, "", `\fP`, "", `\&`, "")

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var option = regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[\w-]+)`)

func TestEveryCommandHasAPageWithItsOptions(t *testing.T) {
	programs, dir := built(t)
	for _, program := range programs {
		top, err := helpOf(program)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(program) == "tcpmux" && len(top.commands) < 4 {
			t.Errorf("got commands %v, want at least run, check, connect and help", top.commands)
		}
		for _, c := range append([]item{{term: ""}}, top.commands...) {
			if c.term != "help" {
				hasItsOptions(t, program, c.term, dir)
			}
		}
	}
}

// hasItsOptions compares the page of a program's command with its help. The command "" is the
// program itself.
func hasItsOptions(t *testing.T, program, command, dir string) {
	t.Helper()
	args, name := []string{"--help"}, filepath.Base(program)
	if command != "" {
		args, name = []string{command, "--help"}, name+"-"+command
	}
	page := unroff.Replace(read(t, filepath.Join(dir, name+".1")))
	help, err := exec.Command(program, args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(page, ".TH "+strings.ToUpper(name)+" 1 1970-01-02 \"tcpmux 1.2.3\"") {
		t.Errorf("%s: got %q, want its title", name, strings.SplitN(page, "\n", 2)[0])
	}
	options := option.FindAllStringSubmatch(string(help), -1)
	if len(options) == 0 {
		t.Errorf("%s: got no option in its help, want some", name)
	}
	for _, o := range options {
		if !strings.Contains(page, o[1]) {
			t.Errorf("%s: got no %s in its page, want one", name, o[1])
		}
	}
}

func TestHelpIsCutIntoItsParts(t *testing.T) {
	h, err := parseHelp("First.\nStill first.\n\nExit status: 0 always.\n\nUsage:\n  x run [flags]\n\nExamples:\n  x run  # now\n\n" +
		"Available Commands:\n  run   Serve: all\n\nFlags:\n  -h, --help         help for x\n      --file FILE   a `file`\n\nUse \"x\" for more.\n")
	if err != nil {
		t.Fatal(err)
	}
	p := page{name: "x", short: "short", help: h}
	got := p.roff()
	for _, want := range []string{
		".SH DESCRIPTION\nFirst.\nStill first.\n.SH COMMANDS\n", ".SH EXIT STATUS\n0 always.\n", `\fBx run\fP`, ".RS 4\nx run  # now\n.RE\n",
		".TP\n\\fBrun\\fP\nServe: all\n", ".TP\n\\fB\\-\\-file FILE\\fP\nA \\(gafile\\(ga\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant %q in it", got, want)
		}
	}
	if strings.Contains(got, "for more") {
		t.Errorf("got\n%s\nwant no hint at the end", got)
	}
	if _, err := parseHelp("what?"); err == nil {
		t.Error("got no error for what is no help, want one")
	}
}

func TestEscape(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a minus", "--config", `\-\-config`},
		{"a backslash", `\r\n`, `\er\en`},
		{"quotes", "it's `so`", `it\(aqs \(gaso\(ga`},
	} {
		if got := escape(c.text); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	for _, text := range []string{".SH", "'x"} {
		var b strings.Builder
		line(&b, text)
		if got, want := b.String(), `\&`+text+"\n"; got != want {
			t.Errorf("got %q, want %q: no request", got, want)
		}
	}
}

// TestPagesRenderWithoutWarnings renders the pages as lintian does.
func TestPagesRenderWithoutWarnings(t *testing.T) {
	if _, err := exec.LookPath("man"); err != nil {
		lacks(t, err.Error(), "apt-get install man-db")
	}
	_, dir := built(t)
	list, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(list, "tcpmux.toml.5", "tcpmux-control.7", "tcpmux-generator.8") {
		cmd := exec.Command("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", path)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANROFFSEQ=", "MANWIDTH=80")
		var said strings.Builder
		cmd.Stderr = &said
		if err := cmd.Run(); err != nil || said.Len() > 0 {
			t.Errorf("%s: got %q (%v), want silence", path, said.String(), err)
		}
		// lexgrog reads NAME as apropos(1) does.
		if out, err := exec.Command("lexgrog", path).CombinedOutput(); err != nil {
			t.Errorf("%s: got %q (%v), want a NAME section that says what it is", path, out, err)
		}
	}
}

// lacks ends a test that needs something that is not installed. In CI it fails, because nothing may
// be skipped there unnoticed.
func lacks(t *testing.T, what, how string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s: %s", what, how)
	}
	t.Skipf("%s: %s", what, how)
}
