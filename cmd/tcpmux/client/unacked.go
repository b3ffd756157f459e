package client

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/cmd/internal/secure"
)

// patience is how long the server's kernel is given to acknowledge what was sent before the server
// closed: longer than a round trip and one retransmission take almost anywhere.
const patience = 2 * time.Second

// unacknowledged waits until the server's kernel has acknowledged everything that was sent, the
// connection is gone, ctx is done, or patience is over. It returns how many bytes are not
// acknowledged by then.
func (t *talk) unacknowledged(ctx context.Context) int {
	deadline := time.Now().Add(patience)
	for {
		below := secure.Below(t.conn)
		n, gone := outstanding(below)
		if t.ended && n > 0 && t.conn == secure.Conn(below) { // TLS ends in the stream
			n-- // our FIN counts as one (tcp(7), SIOCOUTQ)
		}
		if n == 0 || gone || ctx.Err() != nil || time.Now().After(deadline) {
			return n
		}
		// The kernel tells nobody when an acknowledgement comes.
		time.Sleep(5 * time.Millisecond)
	}
}

// outstanding returns how many bytes conn has sent or will send that are not acknowledged, and
// whether it is closed so that none of them will be, or is no connection of TCP. What the kernel
// does not say counts as nothing outstanding.
func outstanding(conn secure.Socket) (n int, gone bool) {
	const closed = 7 // TCP_CLOSE of linux/tcp_states.h
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, true
	}
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		// Asked first: nothing is acknowledged afterwards.
		gone = err != nil || info.State == closed
		if n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err != nil {
			n = 0
		}
	})
	return n, gone || err != nil
}
