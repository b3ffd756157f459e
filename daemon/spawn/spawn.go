// Package spawn starts processes in a way that suits the kernel's idea of a parent.
package spawn

import (
	"runtime"
	"sync"
)

// OnLastingThread calls f on a thread that lives as long as the process, and returns when f has.
//
// To the kernel a process is the child of the thread that started it. When that thread ends, a
// child that is to die with its parent dies (prctl(2), PR_SET_PDEATHSIG), and any other child is
// given to another thread. Go's runtime ends a thread when its goroutine ends without unlocking it
// (runtime.LockOSThread), so code that may run on such a thread starts processes here.
func OnLastingThread(f func()) {
	done := make(chan struct{})
	lastingThread() <- func() {
		defer close(done)
		f()
	}
	<-done
}

// lastingThread starts the thread of OnLastingThread.
var lastingThread = sync.OnceValue(func() chan<- func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range calls { // never ends
			f()
		}
	}()
	return calls
})
