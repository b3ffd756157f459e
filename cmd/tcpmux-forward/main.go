// Command tcpmux-forward delivers the records of tcpmux to a NATS JetStream stream: see
// "tcpmux-forward --help". It is a program of its own so that the daemon has no code of NATS and no
// way into the network.
//
// Its exit status is 0 when done, 1 when it failed, 64 for a usage error, 78 for an error in the
// configuration, and 128 plus the signal's number when a signal ended --once or --from. What
// another program might read goes to standard output, and what went wrong to standard error.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"tcpmux/cmd/internal/cli"
	"tcpmux/config"
)

// mostMemory is from where on the runtime collects garbage at once. What long records leave is
// much.
const mostMemory = 48 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(mostMemory)
	}
	// A reader of the log that goes away is an error of the write, and not the end of a
	// delivery.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(cli.Execute(context.Background(), command(os.Stdin, os.Stdout, os.Stderr), os.Args[1:], os.Stderr, cli.Hooks{Explain: explain}))
}

// errNoServers reports that the configuration does not ask for a delivery.
var errNoServers = errors.New("it names no servers under [forward]. To deliver, add a table [forward] with " +
	"servers = [\"nats://HOST:4222\"], see tcpmux.toml(5), and run \"tcpmux check\"; to deliver nothing, " +
	"run \"systemctl disable --now tcpmux-forward\"")

// explain is cli.Hooks.Explain. It prints the errors in a configuration one per line, because
// editors and people look for FILE:LINE:.
func explain(err error) (text string, status int, known bool) {
	switch {
	case errors.As(err, new(config.Faults)):
		return err.Error(), cli.StatusConfig, true
	case errors.Is(err, config.ErrInvalid), errors.Is(err, errNoServers):
		return fmt.Sprintf("tcpmux-forward: %v", err), cli.StatusConfig, true
	}
	return "", 0, false
}
