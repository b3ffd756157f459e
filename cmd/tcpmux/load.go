package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"tcpmux/config"
)

// configFlag adds --config to cmd.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "config", config.DefaultPath, "the configuration `FILE`; without the default one the built-in defaults hold")
	_ = cmd.MarkFlagFilename("config", "toml") // it fails only for a flag that there is not
}

// load reads the configuration at path and tells its warnings. The file may be missing unless somebody asked for it: then
// the built-in defaults are returned, which have no Path.
func load(path string, asked bool, stderr io.Writer) (config.Config, error) {
	return loadBy(config.Load, path, asked, stderr)
}

// loadToStart is load for a daemon that starts: programs and rules that are not there keep it from serving their listeners, which it
// finds out itself, and no others.
func loadToStart(path string, asked bool, stderr io.Writer) (config.Config, error) {
	return loadBy(config.LoadEarly, path, asked, stderr)
}

func loadBy(read func(path string) (config.Config, error), path string, asked bool, stderr io.Writer) (config.Config, error) {
	cfg, err := read(path)
	if !asked && errors.Is(err, fs.ErrNotExist) {
		cfg, err = config.Default(), nil
	}
	tellWarnings(cfg, stderr)
	return cfg, err
}

func tellWarnings(cfg config.Config, stderr io.Writer) {
	for _, w := range cfg.Warnings {
		fmt.Fprintf(stderr, "warning: %s\n", w)
	}
}
