package config

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestAScriptThatCannotBeStartedIsWarnedOf: it is there and may be executed, and the kernel starts it for nobody.
func TestAScriptThatCannotBeStartedIsWarnedOf(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct{ name, text, want string }{
		{"machine code", "\x7fELF\x02\x01\x01\x00", ""},
		{"shell", "#!/bin/sh\nexit\n", ""},
		{"shell with an argument", "#! /bin/sh -e", ""},
		{"env", "#!/usr/bin/env sh\n", ""},
		{"env with options", "#!/usr/bin/env -S nosuch -x\n", ""},
		{"no interpreter there", "#!/no/such/python3 -u\n", `, a script whose interpreter "/no/such/python3" is not there`},
		{"none that may be executed", "#!/etc/passwd\n", `, a script whose interpreter "/etc/passwd" nobody may execute`},
		{"a directory", "#!/etc\n", `, a script whose interpreter "/etc" nobody may execute`},
		{"none that env finds", "#!/usr/bin/env nosuch\n", `, a script whose interpreter "nosuch" is in no directory of the PATH that programs get`},
		{"CRLF", "#!/bin/sh\r\nexit\r\n", `, a script whose interpreter "/bin/sh\r" ends with a carriage return: want lines that end with LF alone`},
		{"CRLF behind env", "#!/usr/bin/env sh\r\n", `, a script whose interpreter "sh\r" ends with a carriage return: want lines that end with LF alone`},
		{"none named", "#!\n", ", a script that names no interpreter behind #!"},
		{"text", "echo hello\n", ", which is text that does not begin with #!: want a first line such as #!/bin/sh"},
		{"nothing", "", ", which is empty: it cannot be started"},
	} {
		path := filepath.Join(dir, "p")
		if err := os.WriteFile(path, []byte(tc.text), 0o755); err != nil {
			t.Fatal(err)
		}
		var want []string
		if tc.want != "" {
			want = []string{"t.toml:1: exec begins with " + quote(path) + tc.want}
		}
		if got := load(t, "exec = ["+quoteTOML(path)+"]").Warnings; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", tc.name, got, want)
		}
	}
}
