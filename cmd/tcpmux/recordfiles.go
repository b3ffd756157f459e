package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/tcpmux/records"
)

// someFiles checks the arguments of commands that read record files.
func someFiles(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("no FILE, want one or more")
	}
	return nil
}

// backupsFlag adds --backups to cmd.
func backupsFlag(cmd *cobra.Command, backups *bool) {
	cmd.Flags().BoolVarP(backups, "backups", "b", false, "also read the files that each file was rotated to")
}

// readRecords opens record files and calls read, with a context that the first signal cancels.
func readRecords(ctx context.Context, names []string, backups bool, stdin *os.File, read func(context.Context, *records.Files) error) error {
	ctx, stop := cli.UntilInterrupted(ctx)
	defer stop()
	files, err := records.Open(names, backups, stdin)
	if err != nil {
		return err
	}
	defer func() { _ = files.Close() }() // they were only read
	return read(ctx, files)
}
