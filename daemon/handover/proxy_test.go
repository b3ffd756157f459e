package handover_test

import (
	"net/netip"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// proxyLine is a PROXY header.
const proxyLine = "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n"

// behindProxy has clients come through proxies of this machine.
func behindProxy(cfg *config.Config) {
	asJSON(cfg)
	cfg.Listeners[0].ProxyProtocol = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	cfg.Listeners[0].Banner = config.Text("hello {client}\r\n")
}

// TestAProxysClientOutlivesTheProcess: the next one knows which client the header named, and that
// the header is not data.
func TestAProxysClientOutlivesTheProcess(t *testing.T) {
	const banner = "hello 192.0.2.1:1234\r\n"
	for _, c := range []struct {
		name   string
		before func(*daemon, *servertest.Client)
		after  func(*servertest.Client)
		want   string
	}{
		{"the header is taken",
			func(d *daemon, c *servertest.Client) {
				c.Say(proxyLine + "half")
				c.Hear(banner)
				d.AwaitRecords(`"kind":"open"`)
			},
			func(c *servertest.Client) { c.Say(" a line\n") },
			`"offset":0,"data":"half a line"`},
		{"and a message",
			func(d *daemon, c *servertest.Client) {
				c.Say(proxyLine + "hello\nhalf")
				c.Hear(banner)
				d.AwaitRecords(`"data":"hello"`)
			},
			func(c *servertest.Client) { c.Say(" a line\n") },
			`"offset":6,"data":"half a line"`},
		{"half of the header has come",
			func(d *daemon, c *servertest.Client) { c.Say(proxyLine[:10]) },
			func(c *servertest.Client) { c.Say(proxyLine[10:] + "half a line\n"); c.Hear(banner) },
			`"offset":0,"data":"half a line"`},
		{"the header is noted and not taken",
			func(d *daemon, c *servertest.Client) {
				d.session().Slot.SetClient(netip.MustParseAddrPort("192.0.2.1:1234"), len(proxyLine))
			},
			func(c *servertest.Client) { c.Say(proxyLine + "half a line\n"); c.Hear(banner) },
			`"offset":0,"data":"half a line"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, st := surviving(t, behindProxy)
			d.Open()
			client := d.Client()
			d.AwaitClients(1)
			c.before(d, client)
			d.leave()
			next := st.next(behindProxy)
			c.after(client)
			next.AwaitRecords(c.want, `"remote":"192.0.2.1:1234"`, `"proxy":"`+client.Addr()+`"`)
		})
	}
}
