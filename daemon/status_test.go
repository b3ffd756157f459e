package daemon

import (
	"errors"
	"testing"

	"tcpmux/daemon/recordfile"
	"tcpmux/daemon/servertest"
)

// TestStatus holds what systemctl status shows, and in which order.
func TestStatus(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*daemon)
		want   string
	}{
		{"serving", func(*daemon) {}, "STATUS=0 clients, 0 records"},
		{"after health checks", func(d *daemon) {
			d.srv.Env().Visits.Add("192.0.2.1:1")
			d.srv.Env().Visits.Add("192.0.2.1:2")
		}, "STATUS=0 clients, 0 records, 2 visits without data"},
		{"waiting for clients that cannot go on", func(d *daemon) { d.phase = finishing },
			"STATUS=leaving clients to the next process, 0 clients, 0 may finish first"},
		{"the file has another configuration", func(d *daemon) { d.fault = errors.New("one\ntwo") },
			"STATUS=0 clients, 0 records; configuration not loaded: one"},
		{"everything at once", func(d *daemon) {
			d.fault = errors.New("one")
			d.ports.rules = rulesFiles{"r": {faulty: true}}
			d.ports.unmatched = []error{errors.New("two")}
			d.records.main.conditions.note(recordfile.Rotation, errors.New("three"))
		}, "STATUS=0 clients, 0 records; rules are not those of their file; the record file cannot be rotated" +
			"; configuration not loaded: one; two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := ending(servertest.New(t, nil).Open())
			c.change(d)
			if got := d.status(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
