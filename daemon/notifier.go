package daemon

import (
	"log/slog"
	"sync/atomic"

	"tcpmux/daemon/systemd"
)

// notifier tells the service manager about the daemon's state. It is safe for concurrent use.
type notifier struct {
	log     *slog.Logger
	failing atomic.Bool // the last notification did not arrive
}

// notify sends assignments of sd_notify(3). A service manager that cannot be reached is no reason
// to stop serving: the first failure in a row is logged.
func (n *notifier) notify(state ...string) {
	err := systemd.Notify(state...)
	if err == nil {
		n.failing.Store(false)
		return
	}
	if !n.failing.Swap(true) {
		n.log.Warn("service manager cannot be told", "err", err)
	}
}
