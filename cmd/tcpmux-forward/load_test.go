package main

import (
	"testing"

	"tcpmux/config"
)

func TestRelativePathsAreThoseOfTheService(t *testing.T) {
	for _, c := range []struct{ path, env, want string }{
		{config.DefaultPath, "", "/var/log/tcpmux"},
		{config.DefaultPath, "/srv/log", "/srv/log"},
		{"new.toml", "", ""},
		{"new.toml", "/srv/log", "/srv/log"},
	} {
		if got := logsDirectory(c.path, c.env); got != c.want {
			t.Errorf("logsDirectory(%q, %q) = %q, want %q", c.path, c.env, got, c.want)
		}
	}
}
