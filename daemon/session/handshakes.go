package session

import (
	"container/list"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Handshakes bounds how many handshakes of TLS are under way at the same time. Somebody who opens
// connections and says nothing crowds out their own: when there are too many, the oldest is given
// up, once it had handshakeGrace. Who is in earnest is done in milliseconds, or in a second or two
// where all devices of a site come back at once. Safe for concurrent use.
type Handshakes struct {
	mu      sync.Mutex
	limit   int        // 0: none
	under   *list.List // of *handshaking, the oldest first
	trimmed bool       // trim will be called
}

// handshakeGrace is how long a handshake may take however many there are.
const handshakeGrace = 3 * time.Second

// handshaking is one that is under way.
type handshaking struct {
	session *Session
	began   time.Time
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
	own = &handshaking{session: s, began: time.Now()}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.under == nil {
		h.under = list.New()
	}
	at := h.under.PushBack(own)
	h.trimLocked(own.began)
	return own, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.under.Remove(at) // does nothing if it was removed
	}
}

// trim gives up the oldest handshakes, as far as there are too many.
func (h *Handshakes) trim() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trimmed = false
	h.trimLocked(time.Now())
}

func (h *Handshakes) trimLocked(now time.Time) {
	for h.limit > 0 && h.under.Len() > h.limit {
		oldest := h.under.Front().Value.(*handshaking)
		if left := handshakeGrace - now.Sub(oldest.began); left > 0 {
			if !h.trimmed {
				h.trimmed = true
				time.AfterFunc(left, h.trim)
			}
			return
		}
		h.under.Remove(h.under.Front())
		oldest.crowded.Store(true)
		oldest.session.Conn.Wake()
	}
}
