package console

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/text"
	"tcpmux/cmd/tcpmux/console/view"
	"tcpmux/config/notation"
	"tcpmux/daemon/control/api"
)

// sortKeys are the values of --sort, each also with "-" in front.
var sortKeys = []string{"opened", "heard", "bytes", "records", "remote"}

// sessionsFlags are the flags of sessions.
type sessionsFlags struct {
	flags
	api.Filter
	source, idle, minBytes string
}

func (c *Console) sessionsCommand() *cobra.Command {
	var f sessionsFlags
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "List the clients that are connected",
		Long: `sessions lists the clients that are connected: the name of the session, the
listener, the client's address and that of its proxy, since when it is
connected, for how long nothing was recorded of it, its records and bytes, and
what it waits for: "client" for its client, "sink" for its record to be
written. Times are in UTC, as in records. If clients speak TLS, the last column
has its version, whether the kernel or user space encrypts, and the subject of
the client's certificate.

--sort sorts by when the client connected (opened, the default), when it was
last heard of (heard), bytes, records, or its address (remote); "-" in front
reverses the order.

Exit status: 0 when the daemon answered, 1 when it did not, 64 for a usage
error.`,
		Example: `  tcpmux sessions
  tcpmux sessions --listener scanners --source 192.0.2.0/24
  tcpmux sessions --idle 1h --sort heard        # who was silent for longest
  tcpmux sessions --sort -bytes --limit 10      # who sent the most
  tcpmux sessions --json | jq -r '.sessions[].remote'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cli.AtMost(0)(cmd, args); err != nil {
				return err
			}
			return f.parse()
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.run(cmd, &f.flags, func(ctx context.Context, d Daemon) error {
				s, err := d.Sessions(ctx, f.Filter)
				if err != nil {
					return err
				}
				return c.print(&f.flags, s, func(p text.Painter) []string { return view.Sessions(&s, time.Now(), p) })
			})
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Listener, "listener", "", "only the clients of the listener `NAME`")
	flags.StringVar(&f.source, "source", "", "only clients from `SOURCE`: an address, a network such as 192.0.2.0/24, or uid=N for a user at unix sockets")
	flags.StringVar(&f.idle, "idle", "", "only clients of which nothing was recorded for the `DURATION`, such as 90s or 2h")
	flags.StringVar(&f.minBytes, "min-bytes", "", "only clients that have sent at least `SIZE`, such as 64KiB")
	flags.StringVar(&f.Sort, "sort", "", "sort by `KEY`: opened, heard, bytes, records or remote; -KEY reverses")
	flags.IntVar(&f.Limit, "limit", 0, "list at most `N` clients; 0: all")
	f.add(cmd, "print one JSON object")
	c.completeFlag(cmd, "listener", &f.flags, listenerNames)
	// It only fails for a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(sortCompletions(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func sortCompletions() (list []cobra.Completion) {
	for _, key := range sortKeys {
		list = append(list, key, "-"+key)
	}
	return list
}

// parse reads the flags that have a notation.
func (f *sessionsFlags) parse() (err error) {
	if f.Source, err = source(f.source); err != nil {
		return err
	}
	if f.idle != "" {
		d, ok := notation.ParseDuration(f.idle)
		if !ok || d < 0 {
			return fmt.Errorf("--idle is %q, want a duration with its unit, such as 90s, 2h or 1d", f.idle)
		}
		f.Idle = d.Seconds()
	}
	if f.minBytes != "" {
		n, ok, fits := notation.ParseSize(f.minBytes)
		if !ok || !fits {
			return fmt.Errorf("--min-bytes is %q, want a size with its unit, such as 512B, 64KiB or 10MiB", f.minBytes)
		}
		f.MinBytes = n
	}
	if f.Sort != "" && !slices.Contains(sortKeys, strings.TrimPrefix(f.Sort, "-")) {
		return fmt.Errorf("--sort is %q, want %s, with - in front to reverse", f.Sort, strings.Join(sortKeys, ", "))
	}
	if f.Limit < 0 {
		return fmt.Errorf("--limit is %d, want 0 or more", f.Limit)
	}
	return nil
}

func (c *Console) showCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show everything about one client",
		Long: `show prints all that the daemon and the kernel know of one client: its
addresses, its TLS and who does it, when it came and was last heard of, what
was recorded, what waits in the kernel, what it waits for, whether the
connection would outlive a crash of the daemon, and the state of the TCP
connection. ID is the name of its session, as "tcpmux sessions" lists it and
JSON records have it.

Exit status: 0 when done, 1 when there is no such session or the daemon did not
answer, 64 for a usage error.`,
		Example: `  tcpmux show 8f3a-2c
  tcpmux show --json 8f3a-2c | jq .tcp.rtt`,
		Args: exactly("the ID of a session, as tcpmux sessions lists it"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd, &f, func(ctx context.Context, d Daemon) error {
				s, err := d.Session(ctx, args[0])
				if err != nil {
					return err
				}
				return c.print(&f, s, func(p text.Painter) []string { return view.Detail(&s, time.Now(), p) })
			})
		},
		ValidArgsFunction: c.complete(&f, 1, sessionIDs),
	}
	f.add(cmd, "print one JSON object")
	return cmd
}
