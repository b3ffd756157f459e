package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// benchCommand says where bench has gone: it is a separate program since version 0.2.
func benchCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "bench",
		Hidden:             true,
		Long:               "The load generator is a separate program, tcpmux-bench, in the package of the same name. See tcpmux-bench(1).",
		DisableFlagParsing: true,
		Args: func(*cobra.Command, []string) error {
			return errors.New(`the load generator is a separate program, "tcpmux-bench", in the package tcpmux-bench`)
		},
		Run: func(*cobra.Command, []string) {},
	}
}
