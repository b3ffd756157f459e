package worker

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confine takes from the process what a session does not need: it has no new privileges from now
// on, and no file beyond those that are open, no new socket and no other program. A system call
// that is not allowed ends the process (seccomp(2)).
func confine() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	if len(sessionCalls) == 0 {
		return nil
	}
	filter := sessionFilter()
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// It applies to all threads, of which the runtime has started some.
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("confine: %w", os.NewSyscallError("seccomp", errno))
	}
	return nil
}

// seccompData is what a filter looks at (seccomp(2), struct seccomp_data).
type seccompData struct {
	number int32
	arch   uint32
	_      uint64    // instruction_pointer
	args   [6]uint64 // the machines of sessionArch have the low half of each first
}

// sessionFilter is the program that allows the calls of a session, each to the number that this
// machine has for it, and nothing else.
func sessionFilter() []unix.SockFilter {
	load := func(offset uintptr) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: uint32(offset)}
	}
	skipUnless := func(value uint32, n uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: n}
	}
	allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	kill := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS}

	var d seccompData
	filter := []unix.SockFilter{
		load(unsafe.Offsetof(d.arch)),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: sessionArch, Jt: 1},
		kill,
		load(unsafe.Offsetof(d.number)),
	}
	for _, call := range sessionCalls {
		filter = append(filter, skipUnless(uint32(call), 1), allow)
	}
	// The runtime signals its own threads. It must not signal another process, though that has
	// the same user.
	return append(filter,
		skipUnless(unix.SYS_TGKILL, 3),
		load(unsafe.Offsetof(d.args)), skipUnless(uint32(os.Getpid()), 1), allow,
		kill)
}
