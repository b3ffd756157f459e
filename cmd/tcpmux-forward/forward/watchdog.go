package forward

import (
	"time"

	"tcpmux/daemon/systemd"
)

// watchdog tells the service manager that the loop is alive (sd_notify(3), WATCHDOG=1). Only the
// loop feeds it, and only when something was acknowledged, when the files were looked at and had
// nothing new, or while it waits during an outage: one that hangs anywhere is restarted.
type watchdog struct {
	every time.Duration // 0: there is none
	fed   time.Time
	now   func() time.Time
	send  func()
}

func newWatchdog() watchdog {
	w := watchdog{now: time.Now, send: func() {
		_ = systemd.Notify("WATCHDOG=1") // if it is lost, the service manager acts on that
	}}
	if d, err := systemd.WatchdogInterval(); err == nil { // otherwise it is off
		w.every = d / 4
	}
	return w
}

// feed feeds the watchdog if it is time.
func (w *watchdog) feed() {
	if now := w.now(); w.every > 0 && now.Sub(w.fed) >= w.every {
		w.fed = now
		w.send()
	}
}
