//go:build !amd64 && !arm64

package daemon

// sessionArch and sessionCalls are empty: on this machine no filter has been tried, and a session's process has none.
var (
	sessionArch  uint32
	sessionCalls []uintptr
)
