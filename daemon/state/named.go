package state

// Named is what is kept of a connection that a mux has given to another listener, because the
// client has named it. The zero value is that of all other connections.
type Named struct {
	// Size is how many bytes of the stream the name takes with its line end, 1 to 65535; 0:
	// there is none. They are none of what the client sends to the listener.
	Size int
	// By is which of the listener's muxes it was, counted from 1, up to MaxNamedBy; 0: unknown.
	By int
	// TLS reports whether the name came within TLS. Else it came before, if there is TLS at
	// all.
	TLS bool
}

// MaxNamedBy is the largest Named.By that a slot can hold.
const MaxNamedBy = 1<<namedByBits - 1

// Bits of proxyHeader that have room for Named. They are not of the header, as killed is not.
const (
	namedByShift = 37
	namedByBits  = 10
	namedInTLS   = 1 << (namedByShift + namedByBits)
	namedShift   = namedByShift + namedByBits + 1 // the size, up to the last bit

	namedMask = 1<<64 - 1<<namedByShift
)

// SetNamed notes that a connection is one of the listener with that origin from now on, whose
// client has named it. It is called before the name is taken from the socket. A process that is
// killed in the middle leaves the origin of the mux: then the client is asked for the name again
// (Unname). Versions before 0.3, which do not know names, find a connection whose end is recorded,
// and close it.
func (s *Slot) SetNamed(n Named, origin uint32) {
	if s == nil {
		return
	}
	named := uint64(n.Size) << namedShift
	if n.By <= MaxNamedBy {
		named |= uint64(n.By) << namedByShift
	}
	if n.TLS {
		named |= namedInTLS
	}
	s.at.proxyHeader.Or(named) // there is none yet
	s.flag(flagClosed, true)
	s.SetOrigin(origin)
}

// Named returns what SetNamed noted.
func (s *Slot) Named() Named {
	if s == nil {
		return Named{}
	}
	named := s.at.proxyHeader.Load()
	return Named{
		Size: int(named >> namedShift),
		By:   int(named >> namedByShift & MaxNamedBy),
		TLS:  named&namedInTLS != 0,
	}
}

// Unname undoes a SetNamed that has not come to its end.
func (s *Slot) Unname() {
	if s == nil || s.Named() == (Named{}) {
		return
	}
	// first, or the connection would seem to be closed
	if !s.TLS() {
		s.flag(flagClosed, false)
	}
	s.at.proxyHeader.And(^uint64(namedMask))
}

// survivesClosed reports whether flagClosed is there for versions before 0.3 only.
func (s *Slot) survivesClosed() bool { return s.TLS() || s.Named().Size > 0 }
