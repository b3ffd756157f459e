package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"tcpmux/cmd/tcpmux/client"
	"tcpmux/config"
	"tcpmux/daemon"
	"tcpmux/daemon/systemd"
)

// The exit statuses besides 0. 64 and 78 are those of sysexits.h. Go's panics use 2, after which the unit makes no pause.
const (
	statusFailed = 1
	statusUsage  = 64
	statusConfig = 78
	statusSignal = 128 // and the signal's number
)

// usageError is a command line that asks for what there is not.
type usageError struct{ error }

// errOutputGone is the error of a command whose output nobody reads any longer.
var errOutputGone = errors.New("standard output is closed")

// signalError is the end that a signal put to something that does not end by itself.
type signalError struct{ syscall.Signal }

// Error is the signal's name.
func (s signalError) Error() string { return s.String() }

// Is makes it a cancellation, which is all that a signal is to whoever ends in order at one.
func (s signalError) Is(target error) bool {
	return target == context.Canceled || target == daemon.ErrRestart && s.restarts()
}

// restarts says whether another process follows, as far as the signal tells: the unit has systemd send SIGINT then, in place of
// SIGTERM (RestartKillSignal=), whatever either is doing at that moment. At a terminal SIGINT is no more than Ctrl-C.
func (s signalError) restarts() bool { return s.Signal == syscall.SIGINT && systemd.Notified() }

// report tells err, which the command at path returned, and returns the exit status. It is the one place where errors are
// told.
func report(stderr io.Writer, path string, err error) int {
	var usage *usageError
	var sig signalError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &sig):
		return statusSignal + int(sig.Signal)
	case errors.Is(err, errOutputGone), errors.Is(err, client.ErrOutputGone):
		return statusFailed // nobody is left to be told
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "tcpmux: %s; see \"%s\"\n", oneLine(err.Error()), helpFor(path))
		if systemd.Waiting() { // systemd would drop the clients after any other status
			return statusFailed
		}
		return statusUsage
	case errors.As(err, new(config.Faults)):
		fmt.Fprintln(stderr, err) // a line each, with file and line in front, as editors and people look for them
	default:
		fmt.Fprintf(stderr, "tcpmux: %v\n", err)
	}
	if errors.Is(err, config.ErrInvalid) && !errors.Is(err, daemon.ErrClientsWait) {
		return statusConfig
	}
	return statusFailed
}

// oneLine makes one line of cobra's complaint about an unknown command, which proposes others below it.
func oneLine(s string) string {
	s, proposed, ok := strings.Cut(s, "\n\nDid you mean this?\n")
	if !ok {
		return s
	}
	return s + ", did you mean " + strings.Join(strings.Fields(proposed), " or ") + "?"
}

// helpFor is the command line that shows the help of the command at path, such as "tcpmux run".
func helpFor(path string) string {
	program, command, _ := strings.Cut(path, " ")
	if command == "help" {
		command = ""
	}
	return strings.TrimSpace(program + " help " + command)
}
