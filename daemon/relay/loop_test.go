package relay_test

import (
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// TestALoopByWayOfAnother, to which a name leads: it takes a few places, and not all of them.
func TestALoopByWayOfAnother(t *testing.T) {
	f := servertest.New(t, func(c *config.Config) {
		l := &c.Listeners[0]
		l.Service, l.Record, l.Model, l.Banner = config.ServiceProxy, false, "goroutine", config.Bytes{}
		l.Proxy.ConnectTimeout = servertest.Patience
		other := *l
		other.Name = "other"
		c.Listeners = append(c.Listeners, other)
	})
	for i, l := range f.Config.Listeners {
		l.Proxy.To = []string{f.Bindings[1-i].Listener.Addr.String()}
		f.Server.Configure(f.Bindings[i], l, 0)
	}
	f.Open().OpenToo(1)
	c := f.Client()
	if got := c.HearEnd(); got != "" {
		t.Errorf("got %q", got)
	}
	_ = c.Close() // else it may go on sending
	f.AwaitRecords(": upstream-loop, ")
	f.AwaitClients(0)
}
