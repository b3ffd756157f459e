package main

import (
	"io"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/tcpmux/ports"
)

// portsCommand is for tcpmux-ports.service and not for people.
func portsCommand(stderr io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:    "ports",
		Short:  "Open the ports that systemd could not open (tcpmux-ports.service)",
		Hidden: true,
		Args:   cli.AtMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := cli.UntilSignal(cmd.Context(), cli.Ended, func(syscall.Signal) {}, syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return ports.Open(ctx, os.Getenv("RUNTIME_DIRECTORY"), stderr)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
}
