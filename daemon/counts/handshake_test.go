package counts

import (
	"maps"
	"testing"
	"time"
)

func TestHandshakesAreCountedByHowTheyEnd(t *testing.T) {
	var l Listener
	l.HandshakeDone(3 * time.Millisecond)
	l.HandshakeDone(time.Millisecond)
	l.HandshakeFailed(HandshakePlainText)
	l.HandshakeFailed(HandshakeTimeout)
	l.HandshakeFailed("a word that a client made up")
	l.HandshakeFailed("done")
	want := map[string]int64{"done": 2, "plaintext": 1, "timeout": 1, "failed": 2}
	if got := l.Handshakes.Snapshot(); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	want["certificate"], want["kernel"] = 0, 0
	if got := l.HandshakeResults(); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := l.Handshake.Snapshot(); got.Count != 2 || got.Sum != int64(4*time.Millisecond) {
		t.Errorf("got %d handshakes of %d ns, want 2 of 4 ms", got.Count, got.Sum)
	}
	var none *Listener // a session in a process of its own has none
	none.HandshakeDone(0)
	none.HandshakeFailed(HandshakeOther)
}
