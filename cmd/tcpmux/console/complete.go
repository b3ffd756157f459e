package console

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/text"
	"tcpmux/cmd/tcpmux/console/view"
	"tcpmux/daemon/control/api"
)

// How long a completion may wait for the daemon, and how many sessions it offers at most.
const (
	completionLimit = 500 * time.Millisecond
	mostCompletions = 1000
)

// names asks the daemon for names that can be completed.
type names func(ctx context.Context, d Daemon) ([]cobra.Completion, error)

// complete returns a completion of at most so many arguments by names; 0 is any number. It offers
// nothing if the daemon does not answer at once.
func (c *Console) complete(f *flags, most int, from names) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completionLimit)
		defer cancel()
		all, err := from(ctx, c.dial(f.control))
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var list []cobra.Completion
		for _, name := range all {
			if strings.HasPrefix(name, begun) {
				list = append(list, name)
			}
		}
		return list, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag completes the value of a flag by names.
func (c *Console) completeFlag(cmd *cobra.Command, flag string, f *flags, from names) {
	_ = cmd.RegisterFlagCompletionFunc(flag, c.complete(f, 0, from)) // it fails only for a flag that does not exist
}

// sessionIDs returns the sessions, with the addresses of their clients, of which the last are those
// that were heard of first.
func sessionIDs(ctx context.Context, d Daemon) (list []cobra.Completion, err error) {
	s, err := d.Sessions(ctx, api.Filter{Sort: "-heard", Limit: mostCompletions})
	for i := range s.Sessions {
		list = append(list, cobra.CompletionWithDesc(text.ASCII(s.Sessions[i].ID), text.ASCII(view.Peer(&s.Sessions[i]))))
	}
	return list, err
}

// listenerNames returns the listeners, with their addresses.
func listenerNames(ctx context.Context, d Daemon) (list []cobra.Completion, err error) {
	s, err := d.Status(ctx)
	for _, l := range s.Listeners {
		list = append(list, cobra.CompletionWithDesc(text.ASCII(l.Name), text.ASCII(strings.Join(l.Addresses, " "))))
	}
	return list, err
}
