package handover

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/systemd"
)

// TrialName is the argv[0] of a process that is about to become a program which is tried: a
// process that is started under it calls BecomeTrial and nothing else.
const TrialName = "tcpmux: trial"

// trialVariable is set in the environment of a program that is tried.
const trialVariable = "TCPMUX_TRIAL"

// OnTrial reports whether this process is a trial: it ends soon, and leaves its clients to the
// daemon that has started it.
func OnTrial() bool { return os.Getenv(trialVariable) != "" }

// Exit statuses of such a process when it cannot become the program.
const (
	exitFailed = 1
	exitUsage  = 64 // EX_USAGE of sysexits.h
)

// BecomeTrial becomes the program of args: TrialName, the process that has started us, the
// program, and its arguments from argv[0] on. It says what only the process itself knows: which
// process the descriptors are for. It returns only when it cannot, with the exit status.
func BecomeTrial(args []string) int {
	if len(args) < 4 {
		return exitUsage
	}
	parent, program, argv := args[1], args[2], args[3:]
	runtime.LockOSThread() // the signal of a parent's death is a matter of threads
	err := os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0))
	if err == nil && parent != strconv.Itoa(os.Getppid()) {
		return exitFailed // it has died already
	}
	// A shell has its background jobs ignore it, and it is how the trial is told to leave.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT)
	if err == nil {
		err = os.NewSyscallError("execve", unix.Exec(program, argv, append(systemd.Claim(), trialVariable+"=1")))
	}
	fmt.Fprintf(os.Stderr, "try %q: %v\n", program, err)
	return exitFailed
}
