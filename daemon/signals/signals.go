// Package signals keeps a signal that asks the daemon for something from ending it instead, or from
// being lost, while no handler could obey it: from the start of a program to the end of its
// initialization, and from the last look of a program to the start of the one that takes its place
// (execve(2)).
//
// Until main runs, Go's runtime ends the process at SIGHUP, SIGINT and SIGTERM, and a SIGTERM that
// is blocked or ignored does not stay so, as the runtime unblocks and handles it before any Go code
// of ours runs. So the program is linked with an entry point of its own (Entry), whose handler has
// these signals before the runtime starts, and from the runtime before it would end the process. A
// signal that comes before the runtime has its own handlers is noted. One that comes later, but
// before Deliver, starts the program over, as the same process and with the signal noted: nothing
// has been done by then, and there is no way back into the runtime. SIGUSR1 and SIGUSR2 are ignored
// meanwhile, and SIGHUP once it has started the program over: a program that starts does what they
// ask for anyway.
//
// The entry point is assembly. A program for another architecture, or linked without it, can be
// ended by a signal while it starts, as any Go program. What the kernel does before the first
// instruction of a program is protected by the program before it (Exec), or not at all.
package signals

import (
	"errors"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Entry is the symbol to link the program with as its entry point: go build -ldflags "-E
// tcpmux/daemon/signals.entry".
const Entry = "tcpmux/daemon/signals.entry"

// What the handler does. The values are known to it too.
const (
	starting = iota // notes the signal; starts the program over when the runtime would end it
	running         // nothing: the runtime does what it does in any program
	leaving         // passes the signal on to leaver, which has it blocked
)

// Shared with the handler.
var (
	//lint:ignore U1000 the handler reads it
	phase uint32
	// noted has 1<<s for each signal s that came while starting.
	noted uint32
	// leaver is a thread.
	//lint:ignore U1000 the handler reads it
	leaver uint32
)

// Deliver sends the process the signals that came while it started. From then on signals do what
// they do in any program. Call it when those to obey are asked for (signal.Notify).
func Deliver() {
	phase = running
	for _, s := range []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM} {
		if noted&(1<<s) != 0 {
			_ = unix.Kill(os.Getpid(), s) // to ourselves it does not fail
		}
	}
	noted = 0
}

// ErrCame reports that a signal to obey came before the next program could have it.
var ErrCame = errors.New("a signal came before the next program had started")

// Exec is execve(2), for a daemon that another program replaces. SIGINT and SIGTERM that come
// meanwhile are the next program's, and SIGHUP, SIGUSR1 and SIGUSR2 are ignored until it handles
// them. It returns ErrCame if SIGINT or SIGTERM is in came, which the caller has had notified of
// them and of nothing else (signal.Notify); Exec ends that. After an error all is as it was.
func Exec(program string, args, env []string, came chan os.Signal) error {
	back, err := leave()
	if err != nil {
		return err
	}
	defer back()
	signal.Stop(came) // returns when it has what the runtime has received
	if len(came) > 0 {
		return ErrCame
	}
	return os.NewSyscallError("execve", unix.Exec(program, args, env))
}

// leave prepares for execve(2) by this thread. Other threads, in which the runtime keeps SIGINT and
// SIGTERM unblocked, pass them on to this one. What one of them has received and not passed on in
// the microsecond in which the kernel ends it is lost.
func leave() (back func(), err error) {
	runtime.LockOSThread()
	undo := []func(){runtime.UnlockOSThread}
	back = func() {
		for _, f := range slices.Backward(undo) {
			f()
		}
	}
	change := func(s syscall.Signal, to *action) {
		before := disposition(s, to)
		undo = append(undo, func() { disposition(s, &before) })
	}
	for _, s := range []syscall.Signal{unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2} {
		change(s, &action{handler: ignored})
	}
	leaver, phase = uint32(unix.Gettid()), leaving
	undo = append(undo, func() { phase = running })
	unblock, err := block(unix.SIGINT, unix.SIGTERM)
	if err != nil {
		back()
		return nil, err
	}
	undo = append(undo, unblock)
	for _, s := range []syscall.Signal{unix.SIGINT, unix.SIGTERM} {
		if disposition(s, nil).handler != ignored {
			change(s, passing())
		}
	}
	// Has every thread run once more: then none is still in the handler before. In a program
	// with cgo it does nothing.
	// Only that every thread makes it matters.
	_, _, _ = syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0)
	return back, nil
}

// block blocks signals in the thread.
func block(signals ...syscall.Signal) (unblock func(), err error) {
	var set, before unix.Sigset_t
	for _, s := range signals {
		set.Val[0] |= 1 << (s - 1)
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &before); err != nil {
		return nil, os.NewSyscallError("rt_sigprocmask", err)
	}
	// It has not failed before.
	return func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }, nil
}

// action is the kernel's struct sigaction.
type action struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// From <asm-generic/signal-defs.h>.
const (
	ignored    = 1          // SIG_IGN
	onStack    = 0x08000000 // SA_ONSTACK
	restarting = 0x10000000 // SA_RESTART
	restored   = 0x04000000 // SA_RESTORER
	informed   = 0x00000004 // SA_SIGINFO: for what the kernel leaves on the stack
)

// passing is what has our handler take a signal; nil where there is none.
func passing() *action {
	handler, restorer := addresses()
	if handler == 0 {
		return nil
	}
	return &action{handler, onStack | restarting | restored | informed, restorer, 1<<(unix.SIGHUP-1) | 1<<(unix.SIGINT-1) | 1<<(unix.SIGTERM-1)}
}

// disposition returns what a signal does, and changes it unless next is nil.
func disposition(s syscall.Signal, next *action) (before action) {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s),
		uintptr(unsafe.Pointer(next)), uintptr(unsafe.Pointer(&before)), unsafe.Sizeof(before.mask), 0, 0)
	if errno != 0 {
		panic(errno) // only for a signal that does not exist
	}
	return before
}
