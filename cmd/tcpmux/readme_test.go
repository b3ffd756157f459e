package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/config"
)

// The README names only what exists: commands, flags, targets, keys, files and examples.

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReadmeNamesCommandsAndFlagsThatExist(t *testing.T) {
	calls := regexp.MustCompile(`tcpmux (run|check|connect|verify|cat|status|sessions|show|tail|top|kill|drain|undrain|rotate|reload|help)\b([^#\n`+"`"+`]*)`).FindAllStringSubmatch(readme(t), -1)
	if len(calls) < 5 {
		t.Fatalf("got %d commands, want all", len(calls))
	}
	for _, c := range calls {
		command := c[1]
		if command == "help" {
			command = strings.Fields(c[2])[0]
		}
		status, help, stderr := clitest.Outcome(t, tcpmux(t, "help", command))
		if status != 0 {
			t.Errorf("%q: got status %d and %q, want help", c[0], status, stderr)
		}
		for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(c[2], -1) {
			if !strings.Contains(help, flag+" ") {
				t.Errorf("%q: got no %s in its help", c[0], flag)
			}
		}
	}
}

func TestReadmeNamesFlagsOfTheLoadGenerator(t *testing.T) {
	program, err := clitest.Build(t.TempDir(), "../tcpmux-bench")
	if err != nil {
		t.Fatal(err)
	}
	_, help, _ := clitest.Outcome(t, clitest.Program(t, program, "--help"))
	calls := regexp.MustCompile(`tcpmux-bench([^#\n`+"`"+`]*)`).FindAllString(readme(t), -1)
	flags := regexp.MustCompile(`--[a-z-]+`).FindAllString(strings.Join(calls, " "), -1)
	if len(flags) < 3 {
		t.Fatalf("got %q, want the flags of a few examples", flags)
	}
	for _, flag := range flags {
		if !strings.Contains(help, flag+" ") {
			t.Errorf("got no %s in the help of tcpmux-bench", flag)
		}
	}
}

func TestReadmeNamesTargetsThatExist(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	calls := regexp.MustCompile("(?m)(?:^    |`)make ([a-z-]+)").FindAllStringSubmatch(readme(t), -1)
	if len(calls) < 4 {
		t.Fatalf("got %d targets, want all", len(calls))
	}
	for _, c := range calls {
		if !strings.Contains(string(makefile), "\n"+c[1]+":") {
			t.Errorf("make %s: got no such target", c[1])
		}
	}
}

// span is what stands between backticks.
var span = regexp.MustCompile("`([^`\n]+)`")

func TestReadmeNamesKeysThatExist(t *testing.T) {
	known := []string{"data_base64"} // a member of a JSON record
	for _, k := range config.Keys() {
		known = append(known, k.Name, k.Path())
	}
	places := []string{"", "[record]\n", "[tls]\n", "[tls]\nkey = \"a\"\n", "[tls]\ncertificate = \"a\"\n", "[[listener]]\nname = \"a\"\naddress = \":1\"\nexec = [\"/x\"]\n"}
	loads := func(text string) bool {
		return slices.ContainsFunc(places, func(place string) bool {
			_, err := config.LoadEarly(write(t, "tcpmux.toml", place+text))
			return err == nil
		})
	}
	for _, m := range span.FindAllStringSubmatch(readme(t), -1) {
		name, _, setting := strings.Cut(m[1], " = ")
		switch {
		case setting && !loads(m[1]):
			t.Errorf("%s: got no place in a configuration where this can stand", m[1])
		case regexp.MustCompile(`^[a-z.]+_[a-z_]+$`).MatchString(name) && !slices.Contains(known, name):
			t.Errorf("%s: got no such key", name)
		}
	}
}

func TestReadmeShowsConfigurationsThatLoad(t *testing.T) {
	blocks := regexp.MustCompile(`(?m)^    \[\[listener\]\]\n(?:    .*\n)+`).FindAllString(readme(t), -1)
	if len(blocks) < 2 {
		t.Fatalf("got %d examples, want all", len(blocks))
	}
	for _, b := range blocks {
		cfg, err := config.LoadEarly(write(t, "tcpmux.toml", b))
		if err != nil || len(cfg.Warnings) > 0 {
			t.Errorf("got %v and warnings %q, want none for\n%s", err, cfg.Warnings, b)
		}
	}
}

func TestReadmeNamesFilesThatExist(t *testing.T) {
	_, layout, _ := strings.Cut(readme(t), "## How it is laid out\n\n")
	layout, _, _ = strings.Cut(layout, "\n\n")
	// What stands at the beginning of a line is below the root, anything else below that.
	above := ""
	dirs := regexp.MustCompile(`(?m)(^    )?\b((?:[a-z0-9-]+/)+)`).FindAllStringSubmatch(layout, -1)
	if len(dirs) < 10 {
		t.Fatalf("got %d directories, want all", len(dirs))
	}
	for _, m := range dirs {
		if m[1] != "" {
			above = ""
		}
		if info, err := os.Stat(filepath.Join("../..", above, m[2])); err != nil || !info.IsDir() {
			t.Errorf("%s: got %v, want a directory", above+m[2], err)
		}
		if m[1] != "" {
			above = m[2]
		}
	}
	for _, m := range span.FindAllStringSubmatch(readme(t), -1) {
		if name := m[1]; regexp.MustCompile(`^(contrib|\.ci|cmd|config|daemon)/`).MatchString(name) {
			if _, err := os.Stat(filepath.Join("../..", name)); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestEveryReasonIsDocumented in tcpmux.toml(5), the only place that lists them.
func TestEveryReasonIsDocumented(t *testing.T) {
	var source []byte
	for _, name := range []string{"reason.go", "upstream.go"} {
		text, err := os.ReadFile("../../daemon/session/" + name)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, text...)
	}
	reasons := regexp.MustCompile(`(?m)^\tBy\w+ +Reason = "([\w-]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(reasons) < 24 {
		t.Fatalf("got %d reasons, want all", len(reasons))
	}
	page, err := os.ReadFile("../../packaging/man/tcpmux.toml.5")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range reasons {
		if r[1] == "leave" { // the session has not ended, so this is never recorded
			continue
		}
		if !strings.Contains(string(page), "\n.I "+strings.ReplaceAll(r[1], "-", `\-`)+"\n") {
			t.Errorf("tcpmux.toml(5): got no %s among the reasons, want it", r[1])
		}
	}
}
