package main

import (
	"fmt"

	"tcpmux/config"
)

// packagedFiles is LimitNOFILE= of the packaged unit.
const packagedFiles = 65536

// unitWarnings returns a line for each limit of the packaged unit that is too low for cfg. The
// daemon itself logs warnings about the limits under which it runs.
func unitWarnings(cfg config.Config) (warnings []string) {
	if need := config.SurvivalFiles(cfg.Limits.Clients); cfg.Survive && need > packagedFiles {
		warnings = append(warnings, fmt.Sprintf("limits.clients is %d: for that many clients to outlive a restart (survive), the unit needs LimitNOFILE=%d; the packaged one has %d",
			cfg.Limits.Clients, need, packagedFiles))
	}
	return warnings
}
