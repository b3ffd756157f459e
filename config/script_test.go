package config

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tcpmux/config/document"
	"tcpmux/config/fault"
)

// TestScriptsThatCannotStart holds that an executable script gets a warning if the kernel cannot
// start it.
func TestScriptsThatCannotStart(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct{ name, text, want string }{
		{"machine code", "\x7fELF\x02\x01\x01\x00", ""},
		{"shell", "#!/bin/sh\nexit\n", ""},
		{"shell with an argument", "#! /bin/sh -e", ""},
		{"env", "#!/usr/bin/env sh\n", ""},
		{"env with options", "#!/usr/bin/env -S nosuch -x\n", ""},
		{"a missing interpreter", "#!/no/such/python3 -u\n", `, a script whose interpreter "/no/such/python3" does not exist`},
		{"an interpreter that nobody may execute", "#!/etc/passwd\n", `, a script whose interpreter "/etc/passwd" nobody may execute`},
		{"a directory", "#!/etc\n", `, a script whose interpreter "/etc" nobody may execute`},
		{"an interpreter that env does not find", "#!/usr/bin/env nosuch\n", `, a script whose interpreter "nosuch" is not in the PATH of programs`},
		{"CRLF", "#!/bin/sh\r\nexit\r\n", `, a script whose interpreter "/bin/sh\r" ends with a carriage return: want lines that end with LF only`},
		{"CRLF after env", "#!/usr/bin/env sh\r\n", `, a script whose interpreter "sh\r" ends with a carriage return: want lines that end with LF only`},
		{"no interpreter", "#!\n", ", a script without an interpreter after #!"},
		{"text", "echo hello\n", ", which is text that does not begin with #!: want a first line such as #!/bin/sh"},
		{"nothing", "", ", which is empty: want a program"},
	} {
		path := filepath.Join(dir, "p")
		if err := os.WriteFile(path, []byte(tc.text), 0o755); err != nil {
			t.Fatal(err)
		}
		var want []string
		if tc.want != "" {
			want = []string{"t.toml:1: exec has " + fault.Quote(path) + tc.want}
		}
		if got := load(t, "exec = ["+document.QuoteTOML(path)+"]").Warnings; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", tc.name, got, want)
		}
	}
}
