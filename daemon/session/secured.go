package session

import (
	"tcpmux/daemon/record"
	"tcpmux/daemon/tlsconn"
)

// Secured is what is known of a client's TLS.
type Secured struct {
	TLS *record.TLS // nil: there is none, or no handshake yet. It is not changed
	// Kernel reports whether the kernel encrypts and decrypts, so that the connection can go on
	// without this process. If not, KernelReason says why.
	Kernel       bool
	KernelReason string
}

// SetTLS notes what a client's handshake has found out: records, Summary and the log have it from
// now on. What the client says without end is shortened. The session's goroutine calls it before
// Open; for a session of the previous process, the server calls it before Run.
func (s *Session) SetTLS(info tlsconn.Info) {
	info.TLS = info.TLS.Bounded()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endsLocked().secured = &info
	s.Source.TLS = &info.TLS
}

// Secured returns what is known of the client's TLS. It may be called from any goroutine.
func (s *Session) Secured() Secured {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends == nil {
		return Secured{}
	}
	return securedOf(s.ends.secured)
}

func securedOf(i *tlsconn.Info) Secured {
	if i == nil {
		return Secured{}
	}
	return Secured{TLS: &i.TLS, Kernel: i.Kernel, KernelReason: i.Reason}
}
