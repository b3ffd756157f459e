package main

import (
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"
)

// Process 1, of a container, becomes the parent of every process whose parent has ended, and nobody
// else waits for such an orphan. It must not wait for processes that it has started itself: the
// code that has started one asks how it ended. The kernel distinguishes the two by thread: a
// process is a child of the thread that has started it, and an orphan becomes a child of the first
// thread (wait(2), __WNOTHREAD). So the first thread starts nothing, and waits for all children
// that it has. When another thread ends, its children go to the first one too; code that starts a
// process therefore keeps the thread while the process runs.

// isInit reports whether this is process 1.
var isInit = os.Getpid() == 1

func init() {
	if isInit {
		runtime.LockOSThread() // main runs on the first thread, and nothing else does
	}
}

// minding calls f and returns its result. Meanwhile, process 1 waits for orphans. Only main calls
// it.
func minding(f func() int) int {
	if !isInit {
		return f()
	}
	// One signal is enough: all orphans that have ended are waited for.
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	status := make(chan int, 1)
	go func() { status <- f() }()
	for {
		select {
		case <-ended:
			reapOrphans()
		case s := <-status:
			return s
		}
	}
}

// reapOrphans waits for the orphans that have ended.
func reapOrphans() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG|unix.WNOTHREAD, nil)
		if err != unix.EINTR && (err != nil || pid == 0) {
			return
		}
	}
}
