package server

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/session"
)

// TLSClients counts clients that speak TLS, by what they have in common.
type TLSClients struct {
	Listener string
	Version  string
	Kernel   bool // the kernel encrypts and decrypts
	Clients  int
	Survive  int // of these would outlive this process now
}

// TLSClients returns the clients that have made their handshake, sorted.
func (s *Server) TLSClients() []TLSClients {
	counted := map[TLSClients]TLSClients{} // by itself, without the numbers
	for _, ss := range s.sessions() {
		i := ss.Secured()
		if i.TLS == nil {
			continue
		}
		key := TLSClients{Listener: ss.Settings.Name, Version: i.TLS.Version, Kernel: i.Kernel}
		c, ok := counted[key]
		if !ok {
			c = key
		}
		if c.Clients++; ss.Survives() {
			c.Survive++
		}
		counted[key] = c
	}
	return slices.SortedFunc(maps.Values(counted), func(a, b TLSClients) int {
		return cmp.Or(strings.Compare(a.Listener, b.Listener), strings.Compare(a.Version, b.Version), kernelFirst(a, b))
	})
}

func kernelFirst(a, b TLSClients) int {
	switch {
	case a.Kernel == b.Kernel:
		return 0
	case a.Kernel:
		return -1
	}
	return 1
}

// tlsOf returns what the control socket says of a client's TLS.
func tlsOf(i *session.Secured) *api.SessionTLS {
	if i.TLS == nil {
		return nil
	}
	return &api.SessionTLS{TLS: api.TLS{
		Version: i.TLS.Version, Cipher: i.TLS.Cipher, SNI: i.TLS.ServerName, Subject: i.TLS.Subject,
	}, Kernel: i.Kernel, Reason: i.KernelReason}
}
