package daemon

import (
	"runtime"
	"sync"
)

// onLastingThread calls f on a thread that lives as long as the process. To the kernel a process is the child of the thread that has
// started it: when that ends, one that is to die with its parent dies (prctl(2), PR_SET_PDEATHSIG), and any other is given to another
// thread. Go's runtime ends threads that a goroutine has kept to its end (runtime.LockOSThread).
func onLastingThread(f func()) {
	done := make(chan struct{})
	lastingThread() <- func() {
		defer close(done)
		f()
	}
	<-done
}

// lastingThread starts the thread of onLastingThread.
var lastingThread = sync.OnceValue(func() chan<- func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range calls { // they never end
			f()
		}
	}()
	return calls
})
