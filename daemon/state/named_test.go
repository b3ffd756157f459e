package state

import (
	"net/netip"
	"testing"
	"time"
)

// closedBefore03 reports whether a slot is closed as a version before 0.3 sees it, which knows
// neither names nor TLS.
func closedBefore03(s *Slot) bool { return s.at.flags.Load()&flagClosed != 0 }

func TestNamed(t *testing.T) {
	client := netip.MustParseAddrPort("192.0.2.1:65535")
	for _, want := range []Named{
		{Size: 1, By: 1},
		{Size: 65535, By: MaxNamedBy, TLS: true},
		{Size: 4},
		{Size: 256, By: 2, TLS: true},
	} {
		f := newFile(t, 3)
		s := f.Take(1)
		s.SetOrigin(MaxOrigin)
		s.SetClient(client, 65535)
		s.SetNamed(want, 7)
		s.SetKilled()
		s.Hold(time.Unix(1, 0))
		if got := s.Named(); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if got, size := s.Client(); got != client || size != 65535 {
			t.Errorf("%+v: the client is %v with %d bytes, want %v with 65535", want, got, size, client)
		}
		if !s.Killed() || !s.Opened().IsZero() || s.TLS() || s.Origin() != 7 {
			t.Errorf("%+v: got killed %v, opened %v, TLS %v, origin %d", want, s.Killed(), s.Opened(), s.TLS(), s.Origin())
		}
		if s.Closed() || !closedBefore03(s) {
			t.Errorf("%+v: got closed %v, and before 0.3 %v; want false, true", want, s.Closed(), closedBefore03(s))
		}
		if s.SetClosed(); !s.Closed() {
			t.Errorf("%+v: it is closed, and not seen so", want)
		}
		s.Free()
		if again := f.Take(2); again.Named() != (Named{}) || again.Closed() {
			t.Errorf("%+v: the next connection has %+v and is closed: %v", want, again.Named(), again.Closed())
		}
	}
}

func TestTooManyMuxesAreUnknown(t *testing.T) {
	s := newFile(t, 1).Take(1)
	s.SetNamed(Named{Size: 3, By: MaxNamedBy + 1}, 7)
	if got, want := s.Named(), (Named{Size: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestNamedWithTLS holds that a connection which speaks TLS stays marked, whichever comes first.
func TestNamedWithTLS(t *testing.T) {
	before, after := newFile(t, 2), newFile(t, 2)
	s := before.Take(1)
	s.SetTLS()
	s.SetNamed(Named{Size: 3, TLS: true}, 7)
	r := after.Take(1)
	r.SetNamed(Named{Size: 3}, 7)
	r.SetTLS()
	for _, s := range []*Slot{s, r} {
		if !s.TLS() || s.Closed() || s.Named().Size != 3 {
			t.Errorf("got TLS %v, closed %v, %+v", s.TLS(), s.Closed(), s.Named())
		}
	}
	s.Unname()
	if !s.TLS() || s.Closed() || s.Named() != (Named{}) || !closedBefore03(s) {
		t.Errorf("after Unname: got TLS %v, closed %v, %+v", s.TLS(), s.Closed(), s.Named())
	}
	if r.SetClosed(); !r.Closed() {
		t.Error("it is closed, and not seen so")
	}
}

// TestUnname holds that a name which was noted in half leaves nothing.
func TestUnname(t *testing.T) {
	s := newFile(t, 1).Take(1)
	s.SetNamed(Named{Size: 3, By: 2}, 7)
	s.Unname()
	if s.Closed() || closedBefore03(s) || s.Named() != (Named{}) {
		t.Errorf("got closed %v, before 0.3 %v, %+v", s.Closed(), closedBefore03(s), s.Named())
	}
	s.SetClosed()
	if s.Unname(); !s.Closed() {
		t.Error("what is closed is so no longer")
	}
}

// TestNoSlotHasNoName: a nil slot keeps nothing.
func TestNoSlotHasNoName(t *testing.T) {
	var s *Slot
	s.SetNamed(Named{Size: 3}, 7)
	s.Unname()
	if s.Named() != (Named{}) {
		t.Errorf("got %+v", s.Named())
	}
}
