package daemon

import (
	"sync"

	"golang.org/x/sys/unix"
)

// heldFD is a descriptor that others than its owner may use until it is closed. Safe for concurrent use.
type heldFD struct {
	mu sync.Mutex
	fd int // -1 once closed
}

func (h *heldFD) control(f func(fd uintptr)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fd >= 0 {
		f(uintptr(h.fd))
	}
}

func (h *heldFD) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fd >= 0 {
		_ = unix.Close(h.fd) // all that matters has been read; the peer learns of it in any case
		h.fd = -1
	}
}
