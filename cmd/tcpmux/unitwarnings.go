package main

import (
	"fmt"

	"tcpmux/config"
)

// packagedFiles is LimitNOFILE= of the packaged unit.
const packagedFiles = 65536

// unitWarnings are what the packaged unit has too little of for cfg. The daemon itself tells of the limits that it runs under.
func unitWarnings(cfg config.Config) (warnings []string) {
	if need := config.SurvivalFiles(cfg.Limits.Clients); cfg.Survive && need > packagedFiles {
		warnings = append(warnings, fmt.Sprintf("limits.clients is %d: that so many outlive a restart (survive) takes LimitNOFILE=%d in the unit, which has %d as packaged",
			cfg.Limits.Clients, need, packagedFiles))
	}
	return warnings
}
