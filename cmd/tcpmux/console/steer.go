package console

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/text"
	"tcpmux/daemon/control/api"
)

// killFlags are the flags of kill.
type killFlags struct {
	flags
	listener, source string
	all              bool
}

func (c *Console) killCommand() *cobra.Command {
	var f killFlags
	cmd := &cobra.Command{
		Use:   "kill [ID...]",
		Short: "End connections of clients",
		Long: `kill ends the connections of the sessions that are named, or of all clients of
a listener, from an address or network, or of both. What has arrived is
recorded, and the reason in the close record is "killed". A client may connect
again: "tcpmux drain" and [limits] in the configuration keep clients away.

To end all connections takes --all. Only root and the daemon's user may kill.

Exit status: 0 when done, also if no client matched; 1 when a session that was
named does not exist or the daemon did not answer, 64 for a usage error.`,
		Example: `  sudo tcpmux kill 8f3a-2c
  sudo tcpmux kill --source 192.0.2.7
  sudo tcpmux kill --listener scanners --source 2001:db8::/32
  sudo tcpmux kill --all`,
		Args: func(_ *cobra.Command, args []string) error { return f.parse(args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd, &f.flags, func(ctx context.Context, d Daemon) error {
				n, err := f.kill(ctx, d, args)
				if err != nil && n == 0 {
					return err
				}
				printed := c.print(&f.flags, api.Killed{Killed: n}, func(text.Painter) []string {
					return []string{"killed " + text.Number(int64(n), "session")}
				})
				return errors.Join(err, printed)
			})
		},
		ValidArgsFunction: c.complete(&f.flags, 0, sessionIDs),
	}
	cmd.Flags().StringVar(&f.listener, "listener", "", "the clients of the listener `NAME`")
	cmd.Flags().StringVar(&f.source, "source", "", "the clients from `SOURCE`: an address, a network such as 192.0.2.0/24, or uid=N for a user at unix sockets")
	cmd.Flags().BoolVar(&f.all, "all", false, "all clients of all listeners")
	f.add(cmd, "print one JSON object with the number of sessions")
	c.completeFlag(cmd, "listener", &f.flags, listenerNames)
	return cmd
}

// parse checks that the command line selects clients in one way.
func (f *killFlags) parse(ids []string) (err error) {
	selected := f.listener != "" || f.source != ""
	switch {
	case len(ids) > 0 && (selected || f.all):
		return errors.New("IDs and flags that select sessions, want only one of both")
	case f.all && selected:
		return errors.New("--all with --listener or --source, want only one of both")
	case len(ids) == 0 && !selected && !f.all:
		return errors.New("want IDs of sessions, --listener, --source, or --all for all clients")
	}
	for _, id := range ids {
		if id == "" {
			return fmt.Errorf("%q is no ID of a session", id)
		}
	}
	if f.source == "0.0.0.0/0" || f.source == "::/0" {
		return fmt.Errorf("--source is %q, want a network that does not hold all clients; --all selects them", f.source)
	}
	f.source, err = source(f.source)
	return err
}

// kill kills, and returns how many sessions there were. A session that does not exist keeps no
// other from being killed.
func (f *killFlags) kill(ctx context.Context, d Daemon, ids []string) (n int, err error) {
	if f.all {
		return d.KillAll(ctx)
	}
	if len(ids) == 0 {
		return d.Kill(ctx, api.Filter{Listener: f.listener, Source: f.source})
	}
	failed := 0
	for _, id := range ids {
		killed, kerr := d.Kill(ctx, api.Filter{ID: id})
		n += killed
		if kerr != nil {
			if failed++; failed == 1 {
				err = kerr
			}
			if ctx.Err() != nil {
				break
			}
		}
	}
	if failed > 1 {
		err = fmt.Errorf("%w (and %d more)", err, failed-1)
	}
	return n, err
}

func (c *Console) drainCommand() *cobra.Command {
	return c.listenerCommand(&cobra.Command{
		Use:   "drain LISTENER",
		Short: "Refuse new clients of a listener",
		Long: `drain has a listener refuse new clients, while those that are connected may
finish. It holds until "tcpmux undrain", or until the daemon restarts.

Only root and the daemon's user may drain.

Exit status: 0 when done, 1 when there is no such listener or the daemon did
not answer, 64 for a usage error.`,
		Example: `  sudo tcpmux drain scanners
  tcpmux sessions --listener scanners           # who has not finished yet`,
	}, Daemon.Drain)
}

func (c *Console) undrainCommand() *cobra.Command {
	return c.listenerCommand(&cobra.Command{
		Use:   "undrain LISTENER",
		Short: "Let clients of a listener in again after drain",
		Long: `undrain has a listener let clients in again, after "tcpmux drain".

Only root and the daemon's user may do that.

Exit status: 0 when done, 1 when there is no such listener or the daemon did
not answer, 64 for a usage error.`,
		Example: `  sudo tcpmux undrain scanners`,
	}, Daemon.Undrain)
}

// listenerCommand makes cmd call change for the listener in its argument.
func (c *Console) listenerCommand(cmd *cobra.Command, change func(Daemon, context.Context, string) (api.Drained, error)) *cobra.Command {
	var f flags
	cmd.Args = exactly("the name of a listener")
	cmd.ValidArgsFunction = c.complete(&f, 1, listenerNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.run(cmd, &f, func(ctx context.Context, d Daemon) error {
			drained, err := change(d, ctx, args[0])
			if err != nil {
				return err
			}
			return c.print(&f, drained, func(text.Painter) []string { return []string{drainedLine(drained)} })
		})
	}
	f.add(cmd, "print one JSON object")
	return cmd
}

func drainedLine(d api.Drained) string {
	clients := text.Number(int64(d.Clients), "client")
	if d.Draining {
		return fmt.Sprintf("%s refuses new clients; %s may finish", text.ASCII(d.Listener), clients)
	}
	return fmt.Sprintf("%s lets clients in; it has %s", text.ASCII(d.Listener), clients)
}

func (c *Console) rotateCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Rotate the record files now",
		Long: `rotate has the daemon rotate its record files now, as it does by itself for
max_size and rotate in [record], and prints the names of the files. Compressing
and removing rotated files follows in the background. A file without records is
not rotated.

Only root and the daemon's user may rotate.

Exit status: 0 when done, 1 when a file could not be rotated or the daemon did
not answer, 64 for a usage error.`,
		Example: `  sudo tcpmux rotate
  sudo tcpmux rotate --json | jq -r '.files[]'`,
		Args: cli.AtMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.run(cmd, &f, func(ctx context.Context, d Daemon) error {
				r, err := d.Rotate(ctx)
				if err != nil {
					return err
				}
				return c.print(&f, r, func(text.Painter) []string { return rotatedLines(r) })
			})
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.add(cmd, "print one JSON object")
	return cmd
}

func rotatedLines(r api.Rotated) (lines []string) {
	for _, file := range r.Files {
		lines = append(lines, "rotated "+text.Prose(file))
	}
	if len(lines) == 0 {
		return []string{"no file to rotate"}
	}
	return lines
}
