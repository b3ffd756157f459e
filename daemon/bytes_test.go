package daemon

import (
	"net/netip"
	"testing"

	"tcpmux/config"
)

// TestBytesAreSentAsTheyAre, bytes that are no UTF-8 and bytes that a text would have filled in.
func TestBytesAreSentAsTheyAre(t *testing.T) {
	const odd = "{client}{time}\x00\xd9\xdc\xff{offset}\x80"
	d := newDesk(t, func(cfg *config.Config) {
		l := &cfg.Listeners[0]
		l.Banner, l.Ack, l.Limits.Refusal = config.Bytes{Raw: odd, Hex: true}, config.Bytes{Raw: odd, Hex: true}, config.Bytes{Raw: odd, Hex: true}
		l.Limits.Deny = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	}).open()
	d.from("127.0.0.2").refused(odd)
	conn := d.client()
	conn.hear(odd)
	conn.say("a\n")
	conn.hear(odd)
}
