package main

import (
	"os"
	"strings"
	"testing"

	"tcpmux/cmd/internal/clitest"
)

func TestCheckWarnsOfWhatTheUnitLacks(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"as many as outlive a restart", "limits.clients = 31768", ""},
		{"more", "limits.clients = 31769", "warning: limits.clients is 31769: for that many clients to outlive a restart (survive), the unit needs LimitNOFILE=65538; the packaged one has 65536\n"},
		{"nobody does", "limits.clients = 40000\nsurvive = false", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, "a.toml", "record.file = \"records.log\"\n"+c.text+"\n")
			if status, _, stderr := clitest.Outcome(t, tcpmux(t, "check", "--quiet", path)); status != 0 || stderr != c.want {
				t.Errorf("got status %d and %q, want 0 and %q", status, stderr, c.want)
			}
		})
	}
}

// TestThePackagedUnitHasTheLimitThatCheckNames.
func TestThePackagedUnitHasTheLimitThatCheckNames(t *testing.T) {
	unit, err := os.ReadFile("../../packaging/systemd/tcpmux.service")
	if want := "\nLimitNOFILE=65536\n"; err != nil || packagedFiles != 65536 || !strings.Contains(string(unit), want) {
		t.Errorf("got %v and %q, want %q in it, as packagedFiles is %d", err, unit, want, packagedFiles)
	}
}
