package worker

// MaxMemory is for external tests.
const MaxMemory = maxMemory

// Filtered reports whether this machine has a filter of system calls.
func Filtered() bool { return len(sessionCalls) > 0 }
