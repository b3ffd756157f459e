package proxy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"tcpmux/internal/fuzzing"
)

const (
	v4 = "\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb"
	v6 = "\x00\x24\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\xdc\x04\x01\xbb"
)

// headers are the examples of the specification and edge cases. A client "" means none; a client
// that begins with ! means an error of Parse.
var headers = []struct{ name, header, client string }{
	{"1, IPv4", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535"},
	{"1, IPv6", "PROXY TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "!"},
	{"1, IPv6 in full", "PROXY TCP6 " + strings.Repeat("ffff:", 7) + "ffff " + strings.Repeat("ffff:", 7) + "ffff 65535 65535\r\n",
		"[" + strings.Repeat("ffff:", 7) + "ffff]:65535"},
	{"1, IPv6 in short", "PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "[2001:db8::1]:1"},
	{"1, IPv4 within IPv6", "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1:1"},
	{"1, unknown", "PROXY UNKNOWN\r\n", ""},
	{"1, unknown at its longest", "PROXY UNKNOWN " + strings.Repeat("ffff:", 7) + "ffff " + strings.Repeat("ffff:", 7) + "ffff 65535 65535\r\n", ""},
	{"1, the first in the specification", "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "192.168.0.1:56324"},
	{"1, port 0", "PROXY TCP4 192.0.2.1 192.0.2.2 0 0\r\n", "192.0.2.1:0"},
	{"2, IPv4", signature2 + "\x21\x11" + v4, "192.0.2.1:56324"},
	{"2, IPv6", signature2 + "\x21\x21" + v6, "[2001:db8::1]:56324"},
	{"2, with more behind the addresses", signature2 + "\x21\x11\x00\x13" + v4[2:] + "\x03\x00\x04abcd", "192.0.2.1:56324"},
	{"2, local", signature2 + "\x20\x00\x00\x00", ""},
	{"2, local with addresses", signature2 + "\x20\x11" + v4, ""},
	{"2, unspecified", signature2 + "\x21\x00\x00\x00", ""},

	{"nothing of the kind", "GET / HTTP/1.0\r\n", "!absent"},
	{"a line end", "\n", "!absent"},
	{"1, lower case", "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "!absent"},
	{"1, no family", "PROXY \r\n", "!"},
	{"1, another family", "PROXY SCTP 192.0.2.1 192.0.2.2 1 2\r\n", "!"},
	{"1, datagrams", "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "!UDP"},
	{"1, a Unix socket", "PROXY UNIX /run/a /run/b\r\n", "!Unix"},
	{"1, the wrong family", "PROXY TCP4 ::1 ::1 1 2\r\n", "!"},
	{"1, too few fields", "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "!"},
	{"1, too many fields", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", "!"},
	{"1, two blanks", "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "!"},
	{"1, a blank at the end", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", "!"},
	{"1, a port too large", "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", "!"},
	{"1, a port with a sign", "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", "!"},
	{"1, a port with a zero in front", "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "!"},
	{"1, a name", "PROXY TCP4 example.org 192.0.2.2 1 2\r\n", "!"},
	{"1, a zone", "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "!"},
	{"1, LF alone", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n" + strings.Repeat(" ", 100), "!large"},
	{"1, too long", "PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n", "!large"},
	{"2, version 3", signature2 + "\x31\x11" + v4, "!"},
	{"2, another command", signature2 + "\x22\x11" + v4, "!"},
	{"2, datagrams", signature2 + "\x21\x12" + v4, "!UDP"},
	{"2, datagrams of IPv6", signature2 + "\x21\x22" + v6, "!UDP"},
	{"2, a Unix socket", signature2 + "\x21\x31\x00\xd8" + strings.Repeat("x", 216), "!Unix"},
	{"2, datagrams of a Unix socket", signature2 + "\x21\x32\x00\xd8" + strings.Repeat("x", 216), "!Unix"},
	{"2, a family that there is not", signature2 + "\x21\x41" + v4, "!"},
	{"2, with as much behind the addresses as is allowed", signature2 + "\x21\x11\x3f\xf0" + v4[2:] + strings.Repeat("x", MaxSize-16-12), "192.0.2.1:56324"},
	{"2, one byte more", signature2 + "\x21\x11\x3f\xf1" + v4[2:] + strings.Repeat("x", MaxSize-16-11), "!large"},
	{"2, addresses cut short", signature2 + "\x21\x11\x00\x0b" + v4[2:], "!"},
	{"2, too long", signature2 + "\x21\x11\xff\xff" + v4[2:], "!large"},
}

var failures = map[string]error{"!": ErrMalformed, "!absent": ErrAbsent, "!large": ErrTooLarge, "!UDP": ErrUDP, "!Unix": ErrUnix}

func TestHeaders(t *testing.T) {
	for _, c := range headers {
		t.Run(c.name, func(t *testing.T) {
			for _, behind := range []string{"", "hello\r\n", "\r\n"} {
				h, err := Parse([]byte(c.header + behind))
				got := ""
				if h.Client.IsValid() {
					got = h.Client.String()
				}
				switch {
				case strings.HasPrefix(c.client, "!"):
					if want := failures[c.client]; !errors.Is(err, want) || h != (Header{}) {
						t.Errorf("got %+v and %v, want %v", h, err, want)
					}
				case err != nil || got != c.client || h.Size != len(c.header):
					t.Errorf("got %q, %d bytes and %v, want %q and %d", got, h.Size, err, c.client, len(c.header))
				}
			}
		})
	}
}

// TestHalfAHeaderIsNone, wherever it ends.
func TestHalfAHeaderIsNone(t *testing.T) {
	for _, c := range headers {
		if strings.HasPrefix(c.client, "!") {
			continue
		}
		for n := range c.header {
			if h, err := Parse([]byte(c.header[:n])); err != nil || h != (Header{}) {
				t.Errorf("%s: %d bytes: got %+v and %v, want neither", c.name, n, h, err)
			}
		}
	}
}

// FuzzParse: bytes after a header do not change it, and no header is found before it is complete.
func FuzzParse(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	for _, c := range headers {
		f.Add([]byte(c.header + "rest"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Parse(b)
		if err != nil || h.Size == 0 {
			if h != (Header{}) {
				t.Errorf("got %+v beside %v, want nothing", h, err)
			}
			return
		}
		if h.Size > min(len(b), MaxSize) || h.Client.IsValid() && (h.Client.Addr().Zone() != "" || h.Client.Addr().Is4In6()) {
			t.Fatalf("got %+v of %d bytes", h, len(b))
		}
		if again, err := Parse(b[:h.Size]); err != nil || again != h {
			t.Errorf("the header alone: got %+v and %v, want %+v", again, err, h)
		}
		if before, err := Parse(b[:h.Size-1]); err != nil || before.Size != 0 {
			t.Errorf("a byte less: got %+v and %v, want no header yet", before, err)
		}
		if again, err := Parse([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + string(b))); err != nil || again.Client != netip.MustParseAddrPort("192.0.2.1:1") {
			t.Errorf("behind another header: got %+v and %v", again, err)
		}
	})
}
