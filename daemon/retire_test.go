package daemon

import (
	"slices"
	"testing"
)

// witness is a model that tells of it when somebody uses its connection.
type witness struct {
	model
	used func()
}

func (w witness) control(f func(fd uintptr)) {
	w.used()
	w.model.control(f)
}

// TestASessionIsOverForTheNextDaemonFirst: when its peer is told of the end, a daemon that comes then goes on with it no more.
func TestASessionIsOverForTheNextDaemonFirst(t *testing.T) {
	d, _, _ := halfway(t, nil)
	s := d.onlySession()
	d.leave()
	var closed []bool
	s.model = witness{s.model, func() { closed = append(closed, s.slot.Closed()) }}
	d.srv.survival.retire(s)
	if want := []bool{true}; !slices.Equal(closed, want) {
		t.Errorf("closed when its peer is told: got %v, want %v", closed, want)
	}
}

// TestNobodyGoesOnWithASessionThatIsOver: a daemon was killed when the end was recorded and the peer not told yet.
func TestNobodyGoesOnWithASessionThatIsOver(t *testing.T) {
	d, e, conn := halfway(t, nil)
	s := d.onlySession()
	d.leave()
	s.slot.SetClosed()
	next := e.heir(nil)
	if n := next.srv.Clients(); n != 0 {
		t.Fatalf("clients of the next: got %d, want none", n)
	}
	if rest := conn.hearEnd(); rest != "" {
		t.Errorf("heard %q, want the end", rest)
	}
	if got := next.out.String(); got != "" {
		t.Errorf("records: got %q, want none", got)
	}
}
