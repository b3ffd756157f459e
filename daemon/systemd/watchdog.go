package systemd

import (
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// WatchdogInterval returns how long the service manager waits for WATCHDOG=1 before it kills the
// service (sd_watchdog_enabled(3)). 0 means that the watchdog is off.
func WatchdogInterval() (time.Duration, error) { return daemon.SdWatchdogEnabled(false) }

// Feed feeds the watchdog until stop is called. It is for a process that is busy for a bounded time
// with something that would keep it from feeding the watchdog itself. Call stop once.
func Feed() (stop func()) {
	interval, err := WatchdogInterval()
	if err != nil || interval <= 0 {
		return func() {} // the watchdog is off; an error was logged at the start
	}
	over := make(chan struct{})
	go feed(interval/3, over)
	return func() { close(over) }
}

func feed(interval time.Duration, over <-chan struct{}) {
	tick := time.NewTicker(max(interval, time.Millisecond))
	defer tick.Stop()
	for {
		_ = Notify("WATCHDOG=1") // if it is lost, the service manager acts on that
		select {
		case <-tick.C:
		case <-over:
			return
		}
	}
}
