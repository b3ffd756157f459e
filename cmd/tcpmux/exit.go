package main

import (
	"errors"
	"fmt"

	"tcpmux/cmd/internal/cli"
	"tcpmux/config"
	"tcpmux/daemon"
)

// explain is cli.Hooks.Explain: it prints a line per fault of a configuration, as editors and people look for FILE:LINE:, and
// returns the exit status that says so, unless that would make systemd drop the clients that wait.
func explain(err error) (text string, status int, known bool) {
	if !errors.Is(err, config.ErrInvalid) {
		return "", 0, false
	}
	text, status = fmt.Sprintf("tcpmux: %v", err), cli.StatusConfig
	if errors.As(err, new(config.Faults)) {
		text = err.Error()
	}
	if errors.Is(err, daemon.ErrClientsWait) {
		status = cli.StatusFailed
	}
	return text, status, true
}
