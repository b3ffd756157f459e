package handover

import (
	"testing"

	"tcpmux/daemon/sockaddr"
)

func TestACloserAddressIsPreferred(t *testing.T) {
	local := sockaddr.ParseLocal("192.0.2.1:80")
	for i, c := range []struct{ listener, better string }{
		{"192.0.2.1:81", "192.0.2.2:80"},
		{"192.0.2.2:80", "0.0.0.0:80"},
		{"[::]:80", "0.0.0.0:80"},
		{"0.0.0.0:80", "192.0.2.1:80"},
	} {
		worse, better := sockaddr.ParseLocal(c.listener), sockaddr.ParseLocal(c.better)
		if a, b := closeness(worse, local), closeness(better, local); a >= b {
			t.Errorf("%d: got %d for %v and %d for %v, want less for the first", i, a, worse, b, better)
		}
	}
}
