package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
)

// Exit statuses besides 0. 64 and 78 are EX_USAGE and EX_CONFIG of sysexits.h. Go's panics exit
// with 2.
const (
	StatusFailed = 1
	StatusUsage  = 64
	StatusConfig = 78
	StatusSignal = 128 // plus the number of the signal
)

// UsageError reports a command line that is wrong. Execute adds to its text how to get help.
type UsageError struct{ Err error }

// Error is the text of the wrapped error.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *UsageError) Unwrap() error { return e.Err }

// SignalError reports that a signal ended the command.
type SignalError struct{ Signal syscall.Signal }

// Error is the name of the signal.
func (e SignalError) Error() string { return e.Signal.String() }

// Is makes it a cancellation, which is all that a signal means to code that ends in order.
func (e SignalError) Is(target error) bool { return target == context.Canceled }

// Status is the exit status of a process that the signal ended.
func (e SignalError) Status() int { return StatusSignal + int(e.Signal) }

// ErrOutputGone reports that nobody reads standard output any more. Execute prints nothing for it.
var ErrOutputGone = errors.New("standard output is closed")

// OutputError turns EPIPE from a write to standard output into ErrOutputGone, and passes every
// other error on.
func OutputError(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return ErrOutputGone
	}
	return err
}

// report prints err, which a command of program returned, and returns the exit status. help is the
// command line that shows more.
func report(stderr io.Writer, program, help string, err error, explain func(error) (string, int, bool)) int {
	var usage *UsageError
	var sig SignalError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &sig):
		return sig.Status()
	case errors.Is(err, ErrOutputGone):
		return StatusFailed
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "%s: %s; see %q\n", program, oneLine(err.Error()), help)
		return StatusUsage
	}
	if explain != nil {
		if text, status, known := explain(err); known {
			fmt.Fprintln(stderr, text)
			return status
		}
	}
	fmt.Fprintf(stderr, "%s: %v\n", program, err)
	return StatusFailed
}

// oneLine makes one line of cobra's error about an unknown command, which suggests others on
// further lines.
func oneLine(s string) string {
	s, proposed, ok := strings.Cut(s, strings.TrimSuffix(suggestionHead, "\t"))
	if !ok {
		return s
	}
	return s + ", did you mean " + strings.Join(strings.Fields(proposed), " or ") + "?"
}
