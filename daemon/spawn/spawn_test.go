package spawn

import (
	"io"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOnLastingThreadIsOneThread, whatever goroutine calls, and another than that of a caller.
func TestOnLastingThreadIsOneThread(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var first int
	OnLastingThread(func() { first = unix.Gettid() })
	if first == unix.Gettid() {
		t.Errorf("got thread %d, want another than the caller's", first)
	}
	var calling sync.WaitGroup
	var running int // one at a time: the race detector tells otherwise
	for range 50 {
		calling.Go(func() {
			OnLastingThread(func() {
				running++
				if got := unix.Gettid(); got != first {
					t.Errorf("got thread %d, want %d", got, first)
				}
			})
		})
	}
	calling.Wait()
	if running != 50 {
		t.Errorf("got %d calls done, want 50", running)
	}
}

// TestAChildOutlivesTheThreadThatAskedForIt: one that is to die with its parent would not
// otherwise.
func TestAChildOutlivesTheThreadThatAskedForIt(t *testing.T) {
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	ended := onEndingThread(func() { OnLastingThread(func() { err = cmd.Start() }) })
	if err != nil {
		t.Fatal(err)
	}
	for unix.Tgkill(unix.Getpid(), ended, 0) == nil { // until the kernel has no such thread
		runtime.Gosched()
	}
	if _, err := io.WriteString(in, "alive"); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(out)
	if werr := cmd.Wait(); string(got) != "alive" || err != nil || werr != nil {
		t.Errorf("got %q, %v, %v, want the child to have gone on", got, err, werr)
	}
}

// onEndingThread calls f on a thread that ends then, and returns its number.
func onEndingThread(f func()) (tid int) {
	done := make(chan int)
	go func() {
		runtime.LockOSThread() // it is never unlocked: the thread ends with the goroutine
		if tid := unix.Gettid(); tid != unix.Getpid() {
			f()
			done <- tid
			return
		}
		done <- onEndingThread(f) // the first thread of a process does not end
	}()
	return <-done
}
