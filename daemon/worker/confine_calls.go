//go:build amd64 || arm64

package worker

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// sessionArch is the machine whose numbers of system calls sessionCalls has.
var sessionArch = map[string]uint32{
	"amd64": unix.AUDIT_ARCH_X86_64,
	"arm64": unix.AUDIT_ARCH_AARCH64,
}[runtime.GOARCH]

// sessionCalls are the system calls of a session and of Go's runtime below it.
var sessionCalls = []uintptr{
	unix.SYS_READ, unix.SYS_RECVMSG, unix.SYS_WRITE, unix.SYS_SENDTO, unix.SYS_CLOSE, unix.SYS_SHUTDOWN,
	unix.SYS_IOCTL, unix.SYS_FCNTL, unix.SYS_RECVFROM, unix.SYS_PPOLL,
	unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKOPT, unix.SYS_GETSOCKNAME,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2,
	unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_SCHED_YIELD,
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MPROTECT, unix.SYS_PRCTL,
	unix.SYS_CLONE, unix.SYS_CLONE3, unix.SYS_GETTID, unix.SYS_GETPID, unix.SYS_RSEQ,
	unix.SYS_SET_ROBUST_LIST, unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN,
	unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
}
