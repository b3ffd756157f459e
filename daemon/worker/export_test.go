package worker

import (
	"log/slog"

	"golang.org/x/sys/unix"
)

// MaxMemory is for external tests.
const MaxMemory = maxMemory

// Filtered reports whether this machine has a filter of system calls.
func Filtered() bool { return len(sessionCalls) > 0 }

// PoolWithoutProcesses returns a pool that cannot start any process.
func PoolWithoutProcesses(log *slog.Logger) *Pool {
	return &Pool{start: func() (*worker, error) { return nil, unix.EAGAIN }, log: log}
}
