package console

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/tcpmux/console/top"
	"tcpmux/config/notation"
)

// shortestInterval keeps top from being a load for the daemon.
const shortestInterval = 100 * time.Millisecond

func (c *Console) topCommand() *cobra.Command {
	var f flags
	interval, every := "", time.Second
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch the daemon in a live table",
		Long: `top shows at a terminal what the daemon is doing, and draws it again every
second: what is wrong, records and bytes a second, the listeners, the busiest
sources, and the busiest sessions.

The arrow keys select a session, Enter shows everything about it, and K kills
it after a confirmation. s sorts by something else, / filters by text, address
or network, p pauses, h lists all keys, and q quits. Ctrl-Z stops top as it
does other programs. While the daemon restarts, top waits for it.

The busiest sessions are those among the 500 that were heard of last. For
programs there is "tcpmux status --json".

Exit status: 0 after q, 1 when the daemon did not answer or there is no
terminal, 64 for a usage error, 130 after Ctrl-C.`,
		Example: `  tcpmux top
  sudo tcpmux top                # may kill sessions
  tcpmux top --interval 5s`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cli.AtMost(0)(cmd, args); err != nil {
				return err
			}
			d, ok := notation.ParseDuration(interval)
			if every = d; !ok || d < shortestInterval {
				return fmt.Errorf("--interval is %q, want a duration of %v or more", interval, shortestInterval)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.run(cmd, &f, func(ctx context.Context, d Daemon) error {
				return top.Run(ctx, d, top.Options{Stdin: c.Stdin, Stdout: c.Stdout, Interval: every, Painter: c.painter()})
			})
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&interval, "interval", "1s", "ask the daemon every `DURATION`, such as 5s")
	f.add(cmd, "")
	return cmd
}
