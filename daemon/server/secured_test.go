package server_test

import (
	"crypto/x509/pkix"
	"fmt"
	"testing"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/servertest"
)

// TestClientsOfTLSAreTold by version, certificate and who encrypts; those without a handshake are
// no such clients yet.
func TestClientsOfTLSAreTold(t *testing.T) {
	x := servertest.NewTLS(t)
	f := servertest.New(t, nil, x.Option).Open()
	const name = "a\"b\x1b[2J"
	one, other := x.Client(f, x.Certificate(pkix.Name{CommonName: name})), x.Client(f)
	for _, c := range []*servertest.TLSClient{one, other} {
		c.Hear(f.Banner)
		c.Say("x\n")
	}
	mute := f.Client()
	of := func(addr string) (s api.Session) {
		for _, s := range f.Server.Sessions(api.Filter{}).Sessions {
			if s.Remote == addr {
				return s
			}
		}
		return s
	}
	servertest.Eventually(t, func() bool { return of(mute.Addr()).State == "handshake" }, func() {
		t.Errorf("got %+v, want that it waits for a handshake", of(mute.Addr()))
	})
	got := of(one.Addr()).TLS
	if got == nil || got.Version != "1.3" || got.Cipher == "" || got.SNI != "localhost" || got.Subject != fmt.Sprintf("CN=%s", `a\"b`+"\x1b[2J") || got.Kernel == (got.Reason != "") {
		t.Errorf("got %+v, want TLS 1.3 with a cipher, the server, the client, and who encrypts", got)
	}
	if got := of(other.Addr()).TLS; got == nil || got.Subject != "" || of(mute.Addr()).TLS != nil {
		t.Errorf("got %+v and %+v, want no subject, and no TLS", got, of(mute.Addr()).TLS)
	}
	all := f.Server.TLSClients()
	if len(all) != 1 || all[0].Clients != 2 || all[0].Version != "1.3" || all[0].Listener != of(one.Addr()).Listener || all[0].Kernel != got.Kernel {
		t.Errorf("got %+v, want 2 clients", all)
	}
}
