package console

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/text"
	"tcpmux/daemon/control/api"
	"tcpmux/daemon/control/client"
)

func (c *Console) reloadCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Make the daemon reload its configuration",
		Long: `reload has the daemon read its configuration again, under live clients, and
prints what has changed and for whom. A configuration with an error changes
nothing, and reload fails; "tcpmux check" reports all errors.

The effect of a change is "now", "new clients" or "restart". Addresses and
listeners wait for "systemctl daemon-reload && systemctl restart tcpmux.socket",
other keys for "systemctl restart tcpmux". Each reload lists them until then.
Clients stay connected.

It is what "systemctl reload tcpmux" runs. There, a daemon without a control
socket is asked by a signal (SIGHUP). Only root and the daemon's user may
reload.

Exit status: 0 when reloaded, 1 when not, 64 for a usage error.`,
		Example: `  sudo tcpmux reload
  sudo tcpmux reload --json | jq -r '.changes[].key'`,
		Args: cli.AtMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("control") {
				f.control = controlOfUnit(f.control)
			}
			return c.run(cmd, &f, func(ctx context.Context, d Daemon) error { return c.reload(ctx, &f, d) })
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.add(cmd, "print one JSON object")
	return cmd
}

// controlOfUnit returns the control socket of the daemon that systemd calls the command for, and
// path if it is called by somebody else.
func controlOfUnit(path string) string {
	if dir := os.Getenv("RUNTIME_DIRECTORY"); dir != "" && os.Getenv("MAINPID") != "" {
		return filepath.Join(dir, filepath.Base(client.DefaultPath))
	}
	return path
}

func (c *Console) reload(ctx context.Context, f *flags, d Daemon) error {
	r, err := d.Reload(ctx)
	if err != nil && c.Otherwise != nil && ctx.Err() == nil {
		if known, oerr := c.Otherwise(ctx); known {
			return oerr
		}
	}
	if err != nil {
		return err
	}
	fault := NotReloaded(r.Faults)
	if fault != nil && !f.json {
		return fault
	}
	return errors.Join(c.print(f, r, func(text.Painter) []string { return changedLines(r) }), fault)
}

// NotReloaded returns the error of a reload with faults; nil if there are none.
func NotReloaded(faults []string) error {
	switch len(faults) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("configuration not reloaded: %s", faults[0])
	}
	return fmt.Errorf("configuration not reloaded: %s (and %d more)", faults[0], len(faults)-1)
}

func changedLines(r api.Reloaded) []string {
	if len(r.Changes) == 0 {
		return []string{"reloaded, nothing has changed"}
	}
	t := text.NewTable(text.Column{Title: "KEY"}, text.Column{Title: "FROM"}, text.Column{Title: "TO"}, text.Column{Title: "EFFECT"})
	for _, change := range r.Changes {
		t.Row(text.Cell{Text: change.Key}, text.Cell{Text: change.From}, text.Cell{Text: change.To}, text.Cell{Text: change.Effect})
	}
	return t.Lines(false)
}
