// Package console is the commands that see and steer a running daemon: each asks it over the
// control socket, and writes the answer as text or as JSON. A command either succeeds, or returns
// an error of one line.
package console

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/text"
	"tcpmux/config/notation"
	"tcpmux/daemon/control/api"
	"tcpmux/daemon/control/client"
	"tcpmux/daemon/sockaddr"
)

// Daemon is what the commands ask for. *client.Client implements it.
type Daemon interface {
	Status(ctx context.Context) (api.Status, error)
	Sessions(ctx context.Context, f api.Filter) (api.Sessions, error)
	Session(ctx context.Context, id string) (api.Detail, error)
	Kill(ctx context.Context, f api.Filter) (int, error)
	KillAll(ctx context.Context) (int, error)
	Drain(ctx context.Context, listener string) (api.Drained, error)
	Undrain(ctx context.Context, listener string) (api.Drained, error)
	Rotate(ctx context.Context) (api.Rotated, error)
	Reload(ctx context.Context) (api.Reloaded, error)
	Tail(ctx context.Context, f api.Filter, each func(api.Record) error) error
}

// Console is what the commands have in common. Stdin, Stdout and Stderr must be set.
type Console struct {
	Stdin, Stdout, Stderr *os.File
	// Dial returns the daemon at a control socket. nil is client.Dial.
	Dial func(path string) Daemon
	// Otherwise reloads a daemon that does not answer at its control socket. It reports whether
	// it is the way to do that here. nil never is.
	Otherwise func(ctx context.Context) (known bool, err error)
	// Limit is how long a command may wait for an answer. 0 is what the client allows.
	Limit time.Duration
}

// Commands returns the commands.
func (c *Console) Commands() []*cobra.Command {
	return []*cobra.Command{
		c.statusCommand(), c.sessionsCommand(), c.showCommand(), c.tailCommand(), c.topCommand(),
		c.killCommand(), c.drainCommand(), c.undrainCommand(), c.rotateCommand(), c.reloadCommand(),
	}
}

// flags are those that most commands have.
type flags struct {
	control string
	json    bool
}

// add adds --control and, unless json is "", --json with that help.
func (f *flags) add(cmd *cobra.Command, json string) {
	cmd.Flags().SortFlags = false
	if json != "" {
		cmd.Flags().BoolVar(&f.json, "json", false, json)
	}
	cmd.Flags().StringVar(&f.control, "control", client.DefaultPath, "the control socket of the daemon, at `PATH`")
	_ = cmd.MarkFlagFilename("control") // it fails only for a flag that does not exist
}

func (c *Console) dial(path string) Daemon {
	if c.Dial != nil {
		return c.Dial(path)
	}
	return client.Dial(path)
}

// run calls ask until it returns, a signal comes, or the limit is over.
func (c *Console) run(cmd *cobra.Command, f *flags, ask func(ctx context.Context, d Daemon) error) error {
	ctx, stop := cli.UntilInterrupted(cmd.Context())
	defer stop()
	limited := ctx
	if c.Limit > 0 {
		var cancel func()
		limited, cancel = context.WithTimeoutCause(ctx, c.Limit, fmt.Errorf("%w within %v", client.ErrNoAnswer, c.Limit))
		defer cancel()
	}
	err := ask(limited, c.dial(f.control))
	if sig := cli.Interruption(ctx); sig != nil {
		return sig
	}
	return safe(cmd.Name(), cli.OutputError(err))
}

// failure is an error whose text cannot drive a terminal.
type failure struct {
	command string
	err     error
}

// Error returns one line.
func (f failure) Error() string { return f.command + ": " + text.Prose(f.err.Error()) }

// Unwrap returns the error.
func (f failure) Unwrap() error { return f.err }

// safe names the command in front of an error.
func safe(command string, err error) error {
	if err == nil || errors.Is(err, cli.ErrOutputGone) || errors.As(err, new(cli.SignalError)) {
		return err
	}
	return failure{command, err}
}

// print writes v as JSON if that was asked for, and otherwise the lines that as returns.
func (c *Console) print(f *flags, v any, as func(p text.Painter) []string) error {
	out := bufio.NewWriter(c.Stdout)
	if f.json {
		b, err := text.JSON(v, true)
		if err != nil {
			return err
		}
		_, _ = out.Write(b) // Flush returns the error
		return out.Flush()
	}
	for _, line := range as(c.painter()) {
		_, _ = out.WriteString(line) // Flush returns the error
		_ = out.WriteByte('\n')      // Flush returns the error
	}
	return out.Flush()
}

// painter allows colours at a terminal that has them.
func (c *Console) painter() text.Painter {
	return text.Painter(term.IsTerminal(int(c.Stdout.Fd())) && cli.Colour() && os.Getenv("TERM") != "dumb")
}

// exactly is cobra.ExactArgs(1) with an error that names what is wanted.
func exactly(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("want %s", what)
		}
		if args[0] == "" {
			return fmt.Errorf("%q is no name, want %s", args[0], what)
		}
		return cli.AtMost(1)(cmd, args)
	}
}

// source reads the value of --source, "" for none.
func source(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if sockaddr.IsUser(s) {
		uid, err := sockaddr.ParseUser(s)
		if err != nil {
			return "", fmt.Errorf("--source: %w", err)
		}
		return sockaddr.FormatUser(uid), nil
	}
	p, want := notation.ParseNetwork(s)
	if want != "" {
		return "", fmt.Errorf("--source is %q, want %s; or uid=N for a user at unix sockets", s, want)
	}
	return notation.FormatNetwork(p), nil
}
