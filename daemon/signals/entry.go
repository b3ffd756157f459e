//go:build amd64 || arm64 || 386 || arm

package signals

// entry is where the program begins: it has handler take SIGTERM, and SIGINT and SIGHUP unless they
// are ignored, ignores SIGUSR1 and SIGUSR2, and goes on where a program of Go's begins. Nothing of
// Go's is there yet.
//
//lint:ignore U1000 assembly has it
func entry()

// handler is called with a signal, in the calling convention of C, by the kernel; or by the
// runtime, before that ends the process, when the runtime has its own handler in place: then it
// returns to somewhere else than restorer. It does what phase says.
//
//lint:ignore U1000 assembly has it
func handler()

// restorer returns from a signal handler (sigreturn(2)).
//
//lint:ignore U1000 assembly has it
func restorer()

// addresses are those of handler and restorer.
func addresses() (handler, restorer uintptr)
