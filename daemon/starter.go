package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// StarterName is the argv[0] of a process that is about to become a program of the user's: whoever is started under it calls
// Start and nothing else. Limits must be set in the process itself before the program's own code runs, and Go starts processes
// without a place for that. It costs two milliseconds, so programs without a limit are started without it.
const StarterName = "tcpmux: exec"

// probeWord stands for the limit when it shall only be looked whether the program could be started.
const probeWord = "probe"

// Start becomes the program of args: StarterName, the limit in bytes (0: none), the program and its arguments. It returns only
// when it cannot, with the exit status that shells have for that; standard error says why.
func Start(args []string) int {
	if len(args) < 3 {
		return 64
	}
	program := args[2]
	if args[1] == probeWord {
		return lookAt(program)
	}
	memory, err := strconv.ParseUint(args[1], 10, 64)
	if err == nil {
		err = becomeProgram(program, args[2:], memory)
	}
	fmt.Fprintf(os.Stderr, "start %q: %v%s\n", program, err, startHint(err))
	if errors.Is(err, unix.ENOENT) {
		return 127
	}
	return 126
}

// becomeProgram takes from the process what a program shall not have, and executes it.
func becomeProgram(path string, argv []string, memory uint64) error {
	runtime.LockOSThread()                                                      // the capabilities are those of the thread
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) // it fails only where the kernel knows none (before 4.3)
	env := os.Environ()
	if memory > 0 {
		reserve()
		if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: memory, Max: memory}); err != nil {
			return fmt.Errorf("limit memory: %w", os.NewSyscallError("setrlimit", err))
		}
	}
	return unix.Exec(path, argv, env)
}

// reserve has the runtime hold memory for what Exec allocates: under the limit, which its own address space exceeds, it can map none.
func reserve() {
	spare := make([]byte, 4<<20) // as much as it maps at a time
	runtime.KeepAlive(spare)
	runtime.GC() // spare is free, and stays mapped
}

// lookAt looks whether we may execute a program, once standard input has ended.
func lookAt(program string) int {
	_, _ = io.Copy(io.Discard, os.Stdin) // an error is an end too
	if err := unix.Access(program, unix.X_OK); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 126
	}
	return 0
}
