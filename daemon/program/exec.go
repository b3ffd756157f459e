package program

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ExecName is the argv[0] of a process that is about to become a program of the user's: main
// calls Exec, and nothing else, when it finds this name. Limits must be set in the process itself
// before the program's own code runs, and Go's syscall.StartProcess cannot do that. The starter
// costs two milliseconds, so only programs that need it are started by it.
const ExecName = "tcpmux: exec"

// probeWord stands in the place of the memory limit when the starter is only to find out whether it
// could execute the program.
const probeWord = "probe"

// Exec becomes the program that args name: ExecName, the memory limit in bytes (0: none), the
// program and its arguments. It returns only when it fails, with the exit status that shells use
// for that, after saying why on standard error.
func Exec(args []string) int {
	if len(args) < 3 {
		return 64 // EX_USAGE of sysexits(3)
	}
	path := args[2]
	if args[1] == probeWord {
		return checkAccess(path)
	}
	memory, err := strconv.ParseUint(args[1], 10, 64)
	if err == nil {
		err = execProgram(path, args[2:], memory)
	}
	line, status := startFailure(path, err)
	_, _ = os.Stderr.WriteString(line) // nobody else could be told
	return status
}

// startFailure returns the line that says why a program could not be executed, and the exit status.
func startFailure(path string, err error) (line string, status int) {
	line = fmt.Sprintf("start %q: %v%s\n", path, err, startHint(err))
	if errors.Is(err, unix.ENOENT) {
		return line, 127
	}
	return line, 126
}

// execProgram drops what the program must not have, and executes it.
func execProgram(path string, argv []string, memory uint64) error {
	runtime.LockOSThread() // capabilities belong to the thread
	// This fails only where the kernel has no ambient capabilities (before 4.3).
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	env := os.Environ()
	if memory == 0 {
		return unix.Exec(path, argv, env)
	}
	failures := newFailures(path)
	reserveThreads()
	reserveMemory()
	err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: memory, Max: memory})
	if err != nil {
		return fmt.Errorf("limit memory: %w", os.NewSyscallError("setrlimit", err))
	}
	failures.exit(unix.Exec(path, argv, env))
	return nil
}

// failures are what to say, and how to end, for each error of execve(2). They are made before the
// memory is limited. Under the limit, which the runtime's own address space already exceeds, even
// errors.Is may want memory that the runtime cannot map, and the process would abort.
type failures [134]struct { // up to EHWPOISON, the last error of Linux
	line   string
	status int
}

func newFailures(path string) *failures {
	var all failures
	for errno := range all {
		all[errno].line, all[errno].status = startFailure(path, unix.Errno(errno))
	}
	return &all
}

// exit ends the process without help of the runtime.
func (all *failures) exit(err error) {
	errno, _ := err.(unix.Errno)
	f := &all[min(int(errno), len(all)-1)]
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(unix.Stderr), uintptr(unsafe.Pointer(unsafe.StringData(f.line))), uintptr(len(f.line)))
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(f.status), 0, 0)
}

// reserveThreads makes the runtime start threads that it can use when it wants one more. In a build
// with cgo a thread's stack is mapped, which the limit does not allow: the process would abort.
func reserveThreads() {
	const threads = 8
	var started, ended sync.WaitGroup
	started.Add(threads)
	for range threads {
		ended.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			started.Done()
			started.Wait() // each has a thread of its own by then
		})
	}
	ended.Wait()
}

// reserveMemory makes the runtime map memory for what unix.Exec allocates.
func reserveMemory() {
	spare := make([]byte, 4<<20) // as much as it maps at a time
	runtime.KeepAlive(spare)
	runtime.GC() // spare is free, and stays mapped
}

// checkAccess waits for the end of standard input, and then reports whether this process may
// execute a program.
func checkAccess(path string) int {
	_, _ = io.Copy(io.Discard, os.Stdin) // an error is an end too
	if err := unix.Access(path, unix.X_OK); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 126
	}
	return 0
}
