package tlsconn

import (
	"crypto/tls"
	"errors"
	"testing"
)

// TestKeysAreNotRenewedWithoutEnd: else a client that does nothing else would have its session see
// neither its deadlines nor a kill. No kernel has this socket's keys, so each renewal fails as well.
func TestKeysAreNotRenewedWithoutEnd(t *testing.T) {
	k := &kernel{fd: ^uintptr(0), suite: tls.TLS_AES_128_GCM_SHA256, client: make([]byte, 32)}
	for i := range maxRenewed + 1 {
		if err := k.rekey(false); errors.Is(err, errRenewed) != (i == maxRenewed) {
			t.Errorf("renewal %d: got %v", i+1, err)
		}
	}
}
