package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tcpmux/cmd/tcpmux/generator"
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
	return append(warnings, networkWarnings(cfg, generatedUnits)...)
}

// generatedUnits is where systemd has generators write.
const generatedUnits = "/run/systemd/generator"

// networkWarnings returns a line if listeners are proxies, and systemd has the service in another
// network than their upstreams need. The generator gives it that, and its units are in a directory:
// only of the file that the generator reads, and only where there is a systemd, can that be said.
func networkWarnings(cfg config.Config, units string) []string {
	network := generator.Network(cfg)
	if cfg.Path != config.DefaultPath || network == "" {
		return nil
	}
	if _, err := os.Stat(units); err != nil {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(units, generator.NetworkDropIn))
	if err != nil && !errors.Is(err, fs.ErrNotExist) || strings.Contains(string(text), network) {
		return nil
	}
	return []string{"proxy leads to addresses for which the service has no network yet: systemctl daemon-reload, and then systemctl restart tcpmux, give it the one that it needs"}
}
