package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/text"
	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/cmd/tcpmux-forward/forward"
	"tcpmux/cmd/tcpmux-forward/observe"
	"tcpmux/config"
)

func statusCommand(stdout *os.File) *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [--json] [--config FILE]",
		Short: "Show how far the delivery is, and what is wrong",
		Long: `status asks the running tcpmux-forward how far it is: over its control socket,
/run/tcpmux-forward/control under systemd and otherwise "control" in the state
directory of [forward]. Members of group adm may ask, and root. If it is not
running, status shows what the state file and the record files say, as far as
the caller may read them.

It shows first what is wrong, and then the server and the stream, what was
delivered since the start, and the lag: what is recorded and not delivered,
with the age of its oldest record. Times are in UTC, as in records. --json
prints one object, with "state" connecting, delivering, idle or blocked.

Exit status: 0 when it is running and nothing is wrong; 1 when it is not running
or something is wrong, such as an outage or a record file that cannot be read;
64 usage, 78 for an error in the configuration, also if it is running and the
configuration names no servers any more.`,
		Example: `  tcpmux-forward status
  tcpmux-forward status --json | jq .lag.seconds`,
		Args:                  cli.AtMost(0),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(cmd, path)
			if err != nil {
				return err
			}
			return showStatus(cmd.Context(), cfg, sockets(cfg, cmd.Flags().Changed("config")), asJSON, stdout)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	configFlag(cmd, &path)
	return cmd
}

// sockets returns where the control socket may be. named is whether cfg is that of --config: then
// the unit's is somebody else's, unless they have the same state directory.
func sockets(cfg config.Config, named bool) []string {
	own := observe.SocketPath(cfg.Forward.State)
	switch def := config.Default(); {
	case !named:
		return []string{observe.SystemdPath, own}
	case cfg.Forward.State == def.Forward.State:
		return []string{own, observe.SystemdPath}
	}
	return []string{own}
}

// showStatus prints the status of the forwarder that answers at one of the sockets, or what is
// known without one. The error says that it is not running, or what is wrong.
func showStatus(ctx context.Context, cfg config.Config, sockets []string, asJSON bool, stdout *os.File) error {
	s, asked := ask(ctx, sockets)
	if asked != nil {
		if !errors.Is(asked, observe.ErrNotRunning) {
			return asked
		}
		var err error
		if s, err = forward.Offline(cfg); err != nil {
			return errors.Join(asked, err)
		}
	}
	if err := printStatus(&s, asked == nil, asJSON, stdout); err != nil {
		return err
	}
	switch {
	case asked != nil && !cfg.Forward.On():
		return fmt.Errorf("%w, and no servers are named under [forward]", asked)
	case asked != nil:
		return fmt.Errorf("%w: start it with systemctl start tcpmux-forward", asked)
	case !cfg.Forward.On(): // ExecReload= of the unit relies on it
		return fmt.Errorf("it goes on as it was configured before, but %s: %w", cmp.Or(cfg.Path, "no configuration is there"), errNoServers)
	}
	if all := problems(&s); len(all) > 0 {
		return fmt.Errorf("%s: %s", text.ASCII(s.State), text.Prose(all[0]))
	}
	return nil
}

// ask asks the sockets in turn, until one answers or refuses to.
func ask(ctx context.Context, sockets []string) (s api.Status, err error) {
	for _, path := range sockets {
		if s, err = observe.Ask(ctx, path); !errors.Is(err, observe.ErrNotRunning) {
			return s, err
		}
	}
	return s, fmt.Errorf("%w: nobody listens on %q", observe.ErrNotRunning, sockets)
}

func printStatus(s *api.Status, running, asJSON bool, stdout *os.File) error {
	if asJSON {
		return printJSON(stdout, s)
	}
	colour := term.IsTerminal(int(stdout.Fd())) && cli.Colour() && os.Getenv("TERM") != "dumb"
	out := bufio.NewWriter(stdout)
	for _, line := range statusText(s, running, time.Now(), text.Painter(colour)) {
		_, _ = out.WriteString(line + "\n") // Flush returns the error
	}
	return cli.OutputError(out.Flush())
}
