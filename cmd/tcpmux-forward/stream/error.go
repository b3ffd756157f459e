package stream

// Kind is what can be done about an error.
type Kind int

const (
	// Outage passes: wait, and try again.
	Outage Kind = iota
	// Stale reports that somebody else has published as this machine: look again at once.
	Stale
	// Refused needs a person. The text names the next step.
	Refused
)

// Error is what all functions of this package return, except when their context has ended.
type Error struct {
	Kind Kind
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }
