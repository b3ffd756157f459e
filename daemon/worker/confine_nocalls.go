//go:build !amd64 && !arm64

package worker

// sessionArch and sessionCalls are empty: no filter was tried on this machine, so a session process
// has none.
var (
	sessionArch  uint32
	sessionCalls []uintptr
)
