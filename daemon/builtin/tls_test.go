package builtin

import (
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/session"
	"tcpmux/daemon/tlsconn"
)

// TestAWaitInTLSIsOne, until the client's time is over: begun again, it would lose what was
// encrypted.
func TestAWaitInTLSIsOne(t *testing.T) {
	change := func(l *config.Listener, c *session.Config) {
		l.IdleTimeout = time.Minute
		c.Conn = tlsconn.New(c.Conn)
	}
	bubble(t, config.ServiceEcho, change, func(f *fixture) {
		f.client.SetRoom(0)
		f.send("hello")
		time.Sleep(lookAgain / 2)
		f.client.SetRoom(2) // a part of what is written
		time.Sleep(3 * lookAgain)
		f.holds("he", false)
		f.client.SetRoom(10)
		f.holds("hello", false)
	})
	bubble(t, config.ServiceEcho, change, func(f *fixture) {
		f.client.SetRoom(2)
		f.send("hello")
		<-f.ended
		f.ends(session.ByIdle)
		if got := time.Since(f.Opened); got != time.Minute {
			t.Errorf("it has ended after %v, want %v", got, time.Minute)
		}
	})
}
