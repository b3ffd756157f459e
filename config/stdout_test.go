package config

import (
	"strings"
	"testing"
)

// TestKeysForFilesOnStandardOutput get a warning unless something is written to a file.
func TestKeysForFilesOnStandardOutput(t *testing.T) {
	const table = "[record]\nfile = \"-\"\nmax_size = \"4KiB\"\nrotate = \"daily\"\nsync = \"none\"\n"
	const rest = " and has no effect with file = \"-\": want the path of a file, or no "
	sync := `t.toml:5: record.sync is "none"` + rest + "sync"
	checkWarnings(t, []warned{
		{"nothing is in a file", table + "max_age = \"1d\"", []string{
			`t.toml:3: record.max_size is "4KiB"` + rest + "max_size",
			`t.toml:4: record.rotate is "daily"` + rest + "rotate",
			sync,
			`t.toml:6: record.max_age is "1d"` + rest + "max_age",
		}},
		{"the log is", table + "[log]\nfile = \"log\"", []string{sync}},
		{"records of a listener are", strings.Replace(table, "4KiB", "1MiB", 1) + ends + "file = \"own.log\"", nil},
		{"no listener", "address = []\n" + strings.Replace(table, "4KiB", "1MiB", 1) + ends + "file = \"own.log\"", nil},
		{"defaults", "[record]\nfile = \"-\"\ncompress = true\nrotate = \"\"", nil},
		{"what standard output has too", "[record]\nfile = \"-\"\nformat = \"json\"\nevents = false", nil},
	})
}

// TestTheEffectiveConfigurationNamesStandardOutput, and can be read again.
func TestTheEffectiveConfigurationNamesStandardOutput(t *testing.T) {
	var b strings.Builder
	if err := load(t, "[record]\nfile = \"-\"").WriteTOML(&b); err != nil {
		t.Fatal(err)
	}
	if want := "\nfile = \"-\" # standard output\n"; !strings.Contains(b.String(), want) {
		t.Errorf("got %s, want %q in it", b.String(), want)
	}
	if got := load(t, b.String()).Record.File; got != Stdout {
		t.Errorf("read again: got %q, want %q", got, Stdout)
	}
}

// TestFilePath holds that a path stays standard output, and that no other becomes it.
func TestFilePath(t *testing.T) {
	for _, c := range []struct{ logs, path, want string }{
		{"", "-", "-"}, {"/logs", "-", "-"}, {"", "./-", "./-"}, {"/logs", "./-", "/logs/-"},
		{"/logs:/more", "a//b", "/logs/a/b"}, {"/logs", "/a/../b", "/b"}, {"", "a", "a"},
	} {
		t.Setenv("LOGS_DIRECTORY", c.logs)
		if got := FilePath(c.path); got != c.want {
			t.Errorf("%q below %q: got %q, want %q", c.path, c.logs, got, c.want)
		}
	}
}
