package program

// For the external tests.
const (
	StderrLine  = stderrLine
	StderrBurst = stderrBurst
)
