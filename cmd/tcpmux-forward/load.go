package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"tcpmux/config"
	"tcpmux/daemon/logging"
)

// load reads the configuration at path. Only FILE of --config has to exist: otherwise the defaults
// hold.
func load(cmd *cobra.Command, path string) (config.Config, error) {
	cfg, err := config.LoadForward(path)
	if errors.Is(err, fs.ErrNotExist) && !cmd.Flags().Changed("config") {
		return config.Default(), nil
	}
	return cfg, err
}

// loadOn is load for what needs a configuration with forwarding on.
func loadOn(cmd *cobra.Command, path string) (config.Config, error) {
	cfg, err := load(cmd, path)
	if err == nil && !cfg.Forward.On() {
		if cfg.Path == "" {
			return cfg, fmt.Errorf("%s: there is no such file; %w", path, errNoServers)
		}
		return cfg, fmt.Errorf("%s: %w", path, errNoServers)
	}
	return cfg, err
}

// openLog opens the log on stderr. The file of [log] is the daemon's.
func openLog(level string, stderr io.Writer) (*logging.Log, error) {
	return logging.Open(logging.Options{Level: level}, stderr)
}
