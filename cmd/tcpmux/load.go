package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"tcpmux/config"
)

// configFlag adds --config to cmd.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "config", config.DefaultPath, "the configuration `FILE`; without the default one the built-in defaults hold")
	_ = cmd.MarkFlagFilename("config", "toml") // it fails only for a flag that does not exist
}

// load reads the configuration at path, and prints its warnings. Unless the user asked for the
// file, it may be missing: then load returns the built-in defaults, which have no Path.
func load(path string, asked bool, stderr io.Writer) (config.Config, error) {
	return loadBy(config.Load, path, asked, stderr)
}

// loadToStart is load for a daemon that starts. Missing programs and rules are no error: the daemon
// itself finds out which listeners they keep from being served.
func loadToStart(path string, asked bool, stderr io.Writer) (config.Config, error) {
	cfg, err := loadBy(config.LoadEarly, path, asked, stderr)
	if err == nil && cfg.Path == "" {
		fmt.Fprintf(stderr, "%s: there is no such file; the built-in defaults hold%s\n", path, unreadDropIns(path))
	}
	return cfg, err
}

func loadBy(read func(path string) (config.Config, error), path string, asked bool, stderr io.Writer) (config.Config, error) {
	cfg, err := read(path)
	if !asked && errors.Is(err, fs.ErrNotExist) {
		cfg, err = config.Default(), nil
	}
	printWarnings(cfg, stderr)
	return cfg, err
}

// unreadDropIns returns what to add about the drop-ins of a configuration that does not exist.
func unreadDropIns(path string) string {
	dir := config.DropInDir(path)
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return fmt.Sprintf(", and nothing in %s is read", dir)
}

func printWarnings(cfg config.Config, stderr io.Writer) {
	for _, w := range cfg.Warnings {
		fmt.Fprintf(stderr, "warning: %s\n", w)
	}
}
