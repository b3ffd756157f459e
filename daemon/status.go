package daemon

import (
	"fmt"
	"strings"
	"time"
)

// status returns the assignment of sd_notify(3) with the line that systemctl status shows.
func (d *daemon) status() string {
	clients := counted(int64(d.srv.Clients()), "client")
	line := fmt.Sprintf("STATUS=%s, %s", clients, counted(d.srv.Records(), "record"))
	if d.phase != serving {
		line = fmt.Sprintf("STATUS=%s, %s, %d may finish first", d.phase, clients, d.srv.Finishing())
	}
	if n := d.srv.Refused(); n > 0 {
		line += fmt.Sprintf(", %d refused", n)
	}
	if n := d.srv.Visits(); n > 0 {
		line += ", " + counted(n, "visit") + " without data"
	}
	line += d.handover.Status()
	if d.ports.rules.faulty() {
		line += "; rules are not those of their file"
	}
	line += d.records.status()
	if d.fault != nil {
		first, _, _ := strings.Cut(d.fault.Error(), "\n")
		line += "; configuration not loaded: " + first
	}
	line += d.ports.status()
	line += d.tls.status(d.cfg.Listeners, time.Now())
	for _, problem := range d.controls.problems() {
		line += "; " + problem
	}
	return line
}

// counted returns a number of things: "1 client", "2 clients".
func counted(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
