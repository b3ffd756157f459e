package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/secure"
	"tcpmux/cmd/tcpmux/client"
)

// connectHelp is the help of connect, and its manual page.
const connectHelp = `connect talks to a TCP server, by default the one at ` + cli.DefaultAddress + `,
or to the one at a unix socket.

At a terminal it shows what the server says as it arrives, in a form that cannot
harm the terminal: control characters and bytes that are not UTF-8 are written
\xNN or \uNNNN, and a backslash \\. Lines can be edited and are sent with a
newline; the arrow keys bring back earlier ones. Tab is sent as a tab and looks
like a space while the line is typed. Ctrl-D on an empty line ends the input and
waits for the rest, Ctrl-C quits.

In a pipe it copies standard input to the server, and what the server says to
standard output, byte for byte. It passes on the end of the input and then waits
for what the server still says. If standard output is a terminal, what the server
says is escaped as above, wherever the input comes from.

With --tls it speaks TLS. The end of the input is then told in TLS (close_notify).

With --service it asks a server that speaks TCPMUX (RFC 1078) for one of its
services, and goes on once the server agrees. If the server refuses, its reason is
the error. --service HELP lists the services. With --tls, the name is sent in TLS.

Exit status: 0 when the connection ended normally, 1 when it could not connect, the
service was refused or the connection broke, 130 after Ctrl-C.`

func connectCommand(stdin, stdout *os.File) *cobra.Command {
	o := client.Options{Stdin: stdin, Stdout: stdout}
	var secured secure.Flags
	cmd := &cobra.Command{
		Use:   "connect [HOST:PORT | HOST PORT | unix:/PATH]",
		Short: "Talk to a server, by hand or in a pipe",
		Long:  connectHelp,
		Example: `  tcpmux connect                            # this machine's daemon
  tcpmux connect device.example.org:7000
  tcpmux connect ::1 12345
  echo "temperature 21.5" | tcpmux connect
  tcpmux connect unix:/run/tcpmux/scanners.sock
  tcpmux connect --service scanners device.example.org:1
  tcpmux connect --tls --ca ca.pem --cert device.pem device.example.org:7000`,
		Args: func(cmd *cobra.Command, args []string) (err error) {
			if err := cli.AtMost(2)(cmd, args); err != nil {
				return err
			}
			if o.Timeout < 0 {
				return fmt.Errorf("--timeout is %v, want 0s or more", o.Timeout)
			}
			if o.Address, err = cli.Address(args); err != nil {
				return err
			}
			if cmd.Flags().Changed("service") {
				if err := client.CheckService(o.Service); err != nil {
					return fmt.Errorf("--service %w", err)
				}
			}
			return secured.Check()
		},
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.TLS, err = secured.Config(cli.Host(o.Address)); err != nil {
				return err
			}
			return connect(cmd.Context(), o)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	o.Timeout = 10 * time.Second
	cmd.Flags().Var((*timeout)(&o.Timeout), "timeout", "how long connecting may take; 0s: until the kernel gives up")
	cmd.Flags().StringVar(&o.Service, "service", "", "ask for the `NAME` of a service (TCPMUX); HELP lists them")
	secured.Define(cmd.Flags())
	return cmd
}

// timeout is the duration of a flag, with an error that shows how one is written.
type timeout time.Duration

// String returns the duration as help shows it: 10s.
func (t *timeout) String() string { return time.Duration(*t).String() }

// Type returns what help calls the value.
func (t *timeout) Type() string { return "duration" }

// Set reads a duration with its unit.
func (t *timeout) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil {
		return errors.New(`want a duration with its unit, such as "5s"`)
	}
	*t = timeout(d)
	return nil
}

// connect talks to the server until the connection or the process ends.
func connect(ctx context.Context, o client.Options) error {
	patient := func(syscall.Signal) {} // the first one ends it at once
	ctx, stop := cli.UntilSignal(ctx, cli.Ended, patient, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := client.Run(ctx, o)
	if errors.Is(err, client.ErrInterrupt) {
		// What Ctrl-C means wherever the terminal is not in raw mode.
		return cli.SignalError{Signal: syscall.SIGINT}
	}
	return err
}
