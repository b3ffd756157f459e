package proxy

import (
	"bytes"
	"net/netip"
	"testing"

	"tcpmux/internal/fuzzing"
)

func TestAppend(t *testing.T) {
	for _, c := range []struct{ name, client, server, want1, want2 string }{
		{"IPv4", "192.0.2.1:56324", "198.51.100.2:443",
			"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
			signature2 + "\x21\x11\x00\x0c" + "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb"},
		{"IPv6", "[2001:db8::1]:1", "[2001:db8::2]:65535",
			"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
			signature2 + "\x21\x21\x00\x24" +
				"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
				"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\x00\x01\xff\xff"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2",
			"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
			signature2 + "\x21\x11\x00\x0c" + "\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x00\x02"},
		{"a zone", "[fe80::1%eth0]:1", "[fe80::2%eth0]:2", "PROXY TCP6 fe80::1 fe80::2 1 2\r\n", ""},
		{"two families", "[2001:db8::1]:1", "192.0.2.2:2", "PROXY TCP6 2001:db8::1 ::ffff:192.0.2.2 1 2\r\n", ""},
		{"nobody", "", "192.0.2.2:2", "PROXY UNKNOWN\r\n", signature2 + "\x21\x00\x00\x00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var client netip.AddrPort
			if c.client != "" {
				client = netip.MustParseAddrPort(c.client)
			}
			server := netip.MustParseAddrPort(c.server)
			if got := string(Append1(nil, client, server)); got != c.want1 {
				t.Errorf("version 1: got %q, want %q", got, c.want1)
			}
			if got := string(Append2(nil, client, server)); c.want2 != "" && got != c.want2 {
				t.Errorf("version 2: got %q, want %q", got, c.want2)
			}
		})
	}
}

// FuzzAppend: what is appended, Parse takes for a header of its client, and for nothing more.
func FuzzAppend(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	f.Add([]byte{192, 0, 2, 1}, int64(1), []byte{192, 0, 2, 2}, int64(2), "behind")
	f.Add(bytes.Repeat([]byte{0xfe}, 16), int64(0), []byte{192, 0, 2, 2}, int64(65535), "")
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4}, int64(9), bytes.Repeat([]byte{1}, 16), int64(7), "\r\n")
	f.Add([]byte{}, int64(1), []byte{}, int64(2), "PROXY ")
	f.Fuzz(func(t *testing.T, client []byte, clientPort int64, server []byte, serverPort int64, behind string) {
		from, _ := netip.AddrFromSlice(client) // else nobody
		to, _ := netip.AddrFromSlice(server)
		c, s := netip.AddrPortFrom(from, uint16(clientPort)), netip.AddrPortFrom(to, uint16(serverPort))
		var want netip.AddrPort
		if from.IsValid() && to.IsValid() {
			want = netip.AddrPortFrom(from.Unmap(), uint16(clientPort))
		}
		for version, header := range [][]byte{Append1([]byte("before"), c, s), Append2([]byte("before"), c, s)} {
			header = header[len("before"):]
			h, err := Parse(append(bytes.Clone(header), behind...))
			if err != nil || h.Size != len(header) || h.Client != want {
				t.Errorf("version %d, %q: got %v, %v, want %v, %d bytes", version+1, header, h, err, want, len(header))
			}
			for n := range header {
				if h, err := Parse(header[:n]); err != nil || h.Size != 0 {
					t.Errorf("version %d, the first %d bytes of %q: got %v, %v, want more to be asked for", version+1, n, header, h, err)
				}
			}
		}
	})
}
