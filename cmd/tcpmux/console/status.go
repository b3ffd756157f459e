package console

import (
	"context"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/text"
	"tcpmux/cmd/tcpmux/console/view"
)

func (c *Console) statusCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the daemon is doing, and what is wrong",
		Long: `status asks the running daemon what it is doing. It shows first what is wrong,
and then the clients, whether the configuration in force is that of the file,
the listeners, and the record files.

Of each listener it shows the clients and how many there may be, visits,
records and bytes since the daemon process started, the averages of the last
ten seconds, and how many clients were refused and why. Of each record file it
shows the size, when it was last written and synced to disk, the free space of
its file system, and how many bytes wait to be written. Times are in UTC, as in
records.

Members of group adm may ask, and root. tcpmux-control(7) describes what --json
prints.

Exit status: 0 when the daemon answered, also with problems; 1 when it did not,
64 for a usage error.`,
		Example: `  tcpmux status
  tcpmux status --json | jq -r '.problems[]'
  tcpmux status --json | jq '.listeners[] | {name, clients}'`,
		Args: cli.AtMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.run(cmd, &f, func(ctx context.Context, d Daemon) error {
				s, err := d.Status(ctx)
				if err != nil {
					return err
				}
				return c.print(&f, s, func(p text.Painter) []string { return view.Status(&s, p) })
			})
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.add(cmd, "print one JSON object")
	return cmd
}
