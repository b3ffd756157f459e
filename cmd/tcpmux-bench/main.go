// Command tcpmux-bench puts many clients on a TCP server at once and measures it: see "tcpmux-bench
// --help". It is a program and a package of its own so that the daemon carries no code for charts,
// fonts or images.
package main

import (
	"context"
	"os"

	"tcpmux/cmd/internal/cli"
)

func main() {
	os.Exit(cli.Execute(context.Background(), command(os.Stdin, os.Stdout, os.Stderr), os.Args[1:], os.Stderr, cli.Hooks{}))
}
