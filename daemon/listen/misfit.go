package listen

import (
	"errors"
	"os"
	"strings"

	"tcpmux/config"
)

// Misfit is an error of the configuration, or of what it names: a restart alone does not remove it.
// errors.Is reports that a Misfit is config.ErrInvalid.
type Misfit struct {
	// Err is the cause.
	Err error
}

// Error returns the text of the cause.
func (m Misfit) Error() string { return m.Err.Error() }

// Is reports whether target is config.ErrInvalid.
func (m Misfit) Is(target error) bool { return target == config.ErrInvalid }

// Unwrap returns the cause.
func (m Misfit) Unwrap() error { return m.Err }

// errNotPassed reports that systemd passed in sockets, but none for the listener.
var errNotPassed = errors.New("systemd passed in no socket for it: another program may have the " +
	"address (ss -ltnp), or the configuration was edited since: " + RemakeSockets + "; " +
	"a socket unit of your own needs FileDescriptorName= with the listener's name")

// portFaults is the file in which tcpmux-ports.service writes why it cannot open a port. Each line
// is "ADDRESS: CAUSE".
const portFaults = "/run/tcpmux-ports/faults"

// notPassed returns why systemd passed in no socket for an address, as far as file says.
func notPassed(file, address string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return errNotPassed
	}
	for line := range strings.Lines(string(text)) {
		if cause, found := strings.CutPrefix(line, address+": "); found {
			return errors.New(strings.TrimSpace(cause))
		}
	}
	return errNotPassed
}
