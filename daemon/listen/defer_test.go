package listen

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestDefer holds that a socket waits for what clients say, and that a reload can end that.
func TestDefer(t *testing.T) {
	ln := listenAt(t, "127.0.0.1:0")
	for _, on := range []bool{true, false, true} {
		if err := ln.Defer(on); err != nil {
			t.Fatal(err)
		}
		got := -1
		err := ln.Control(func(fd int) (err error) {
			got, err = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT)
			return err
		})
		if err != nil || (got > 0) != on {
			t.Errorf("%v: got %d seconds and %v", on, got, err)
		}
	}
}
