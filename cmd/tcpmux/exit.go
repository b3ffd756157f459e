package main

import (
	"errors"
	"fmt"

	"tcpmux/cmd/internal/cli"
	"tcpmux/config"
	"tcpmux/daemon"
)

// explain is cli.Hooks.Explain. It prints the errors in a configuration one per line, because
// editors and people look for FILE:LINE:. The exit status says that the configuration is at fault,
// unless systemd would then drop clients that wait.
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
