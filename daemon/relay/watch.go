package relay

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/session"
)

// lookPause is how often a client is looked at that nobody reads, so that nobody would learn that it
// has broken its connection off: its bytes wait for room, its stream has ended, or the upstream
// takes no more.
const lookPause = 2 * time.Second

// watch has the client looked at as long as nobody reads it.
func (p *pair) watch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.looks == nil && p.why == "" && !p.over {
		p.looks = time.AfterFunc(lookPause, p.look)
	}
}

func (p *pair) look() {
	p.mu.Lock()
	p.looks = nil
	p.mu.Unlock()
	switch {
	case conn.Broken(p.client) && !p.shut.client.Load():
		p.endBroken(session.ByReset, os.NewSyscallError("recv", unix.ECONNRESET))
	case p.in.Waits() || p.waiting.Load() || p.shut.server.Load() || p.broken.Load() != nil:
		p.watch()
	}
}
