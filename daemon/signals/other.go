//go:build !amd64 && !arm64 && !386 && !arm

package signals

// addresses are 0: there is no handler for this architecture.
func addresses() (handler, restorer uintptr) { return 0, 0 }
