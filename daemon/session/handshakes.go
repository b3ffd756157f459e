package session

import (
	"container/list"
	"errors"
	"sync"
	"sync/atomic"
)

// Handshakes bounds how many handshakes of TLS are under way at the same time. Somebody who opens
// connections and says nothing crowds out their own: when there are too many, the oldest is given
// up, and whoever is in earnest is done in milliseconds. Safe for concurrent use.
type Handshakes struct {
	mu    sync.Mutex
	limit int        // 0: none
	under *list.List // of *handshaking, the oldest first
}

// handshaking is one that is under way.
type handshaking struct {
	session *Session
	crowded atomic.Bool // it is given up
}

// errCrowded is that a handshake was given up for others.
var errCrowded = errors.New("too many handshakes are under way: the oldest is given up")

// minHandshakes is how many may be under way where three quarters of the places are no fewer.
const minHandshakes = 64

// Resize changes the bound to that of a server with this many clients: a quarter of them, or
// minHandshakes. So places are left for clients that are done.
func (h *Handshakes) Resize(clients int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.limit = max(clients/4, min(minHandshakes, clients*3/4), 1)
}

// enter notes that a session's handshake begins. leave is called when it has ended.
func (h *Handshakes) enter(s *Session) (own *handshaking, leave func()) {
	own = &handshaking{session: s}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.under == nil {
		h.under = list.New()
	}
	if h.limit > 0 && h.under.Len() >= h.limit {
		oldest := h.under.Remove(h.under.Front()).(*handshaking)
		oldest.crowded.Store(true)
		oldest.session.Conn.Wake()
	}
	at := h.under.PushBack(own)
	return own, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.under.Remove(at) // does nothing if it was removed
	}
}
