package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"tcpmux/config"
	"tcpmux/daemon/logging"
)

// load reads the configuration at path. Only FILE of --config has to exist: otherwise the defaults
// hold.
func load(cmd *cobra.Command, path string) (config.Config, error) {
	if dir := logsDirectory(path, os.Getenv("LOGS_DIRECTORY")); dir != "" {
		if err := os.Setenv("LOGS_DIRECTORY", dir); err != nil {
			return config.Config{}, err
		}
	}
	cfg, err := config.LoadForward(path)
	if errors.Is(err, fs.ErrNotExist) && !cmd.Flags().Changed("config") {
		return config.Default(), nil
	}
	return cfg, err
}

// logsDirectory returns what LOGS_DIRECTORY must be, which now is env, for the relative paths of the
// configuration at path. That of the service names files of the service, wherever a person or cron
// runs this program: below the working directory it would find none, and call all delivered.
func logsDirectory(path, env string) string {
	if env == "" && path == config.DefaultPath {
		return "/var/log/tcpmux"
	}
	return env
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
