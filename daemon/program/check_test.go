package program_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/program"
	"tcpmux/daemon/servertest"
)

func asNobody(c *config.Config) { c.Listeners[0].ExecUser = "nobody" }

// TestProgramsAreCheckedBeforeTheyAreNeeded: what cannot work is reported before a client comes.
func TestProgramsAreCheckedBeforeTheyAreNeeded(t *testing.T) {
	private := filepath.Join(t.TempDir(), "handler") // only its owner may execute it
	if err := os.WriteFile(private, []byte("#!/bin/sh\n"), 0o744); err != nil {
		t.Fatal(err)
	}
	noSuch := func(c *config.Config) { c.Listeners[0].ExecUser = "no-such" }
	for _, c := range []struct {
		name, want string
		change     func(*config.Config)
	}{
		{"no program", "", nil},
		{"it works", "", running("/bin/cat")},
		{"it is not there", `listener "tcpmux": exec "/no/such": no such file or directory (user "`, running("/no/such")},
		{"it works for another user", "", and(running("/bin/cat"), asNobody)},
		{
			"another user may not execute it",
			`listener "tcpmux": exec "` + private + `": permission denied (user "nobody" must be able to execute it`,
			and(running(private), asNobody),
		},
		{"no such user", `listener "tcpmux": exec_user "no-such": user: unknown user no-such`, and(running("/bin/cat"), noSuch)},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := servertest.Config(c.change)
			if os.Geteuid() != 0 && cfg.Listeners[0].ExecUser == "nobody" {
				servertest.Lacks(t, "root", "only root can act for another user")
			}
			err := program.CheckAll(cfg.Listeners)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want no error", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, config.ErrInvalid)):
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}
