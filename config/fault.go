package config

import (
	"fmt"

	"tcpmux/config/fault"
)

// ErrInvalid is every error of Load, in the sense of errors.Is: the file cannot be read, is not
// TOML, or asks for what cannot be served. An error of the file system is also that error, such as
// fs.ErrNotExist.
var ErrInvalid = fault.ErrInvalid

type (
	// Fault is one error or warning about a file. Its File is the path that Load was given, or
	// that of a drop-in or of a file of rules.
	Fault = fault.Fault
	// Faults is the error of Load for a file that could be read: all its errors in the order of
	// lines, and then those of each drop-in.
	Faults = fault.List
)

// unreadable is the error of Load for a file that could not be read.
type unreadable struct {
	what  string // "configuration" or "rules"
	path  string
	cause error
}

// Error returns one line with the file and the cause.
func (u *unreadable) Error() string {
	return fmt.Sprintf("read %s %q: %v", u.what, u.path, u.cause)
}

// Unwrap returns ErrInvalid and the cause.
func (u *unreadable) Unwrap() []error { return []error{ErrInvalid, u.cause} }
