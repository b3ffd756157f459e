package main

import (
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"
)

// As process 1, of a container, we are given every process whose parent has ended, and nobody else waits for it. What we have started
// ourselves must be left alone: whoever has started it asks how it ended. The kernel keeps the two apart by thread. A process is the
// child of the thread that has started it, and an orphan is given to the first thread (wait(2), __WNOTHREAD). So the first thread
// starts nothing, and waits for all that it has. What another thread has started is given to the first one too when that thread ends,
// so whoever starts a process keeps the thread for as long as that runs.

// isInit says whether that is for us to do.
var isInit = os.Getpid() == 1

func init() {
	if isInit {
		runtime.LockOSThread() // has main run on the first thread, and nothing else there
	}
}

// minding returns what f does. Where we are process 1, orphans are waited for meanwhile. Only main calls it.
func minding(f func() int) int {
	if !isInit {
		return f()
	}
	ended := make(chan os.Signal, 1) // one is as good as many: all that have ended are waited for
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

// reapOrphans waits for those that have ended.
func reapOrphans() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG|unix.WNOTHREAD, nil)
		if err != unix.EINTR && (err != nil || pid == 0) {
			return
		}
	}
}
