package notation

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tcpmux/internal/fuzzing"
)

func init() { fuzzing.FixRapid() }

// same holds that a value is read as it was written.
func same[T comparable](t *rapid.T, text string, got T, ok bool, want T) {
	t.Helper()
	if !ok || got != want {
		t.Errorf("%q: got %v, %v, want %v", text, got, ok, want)
	}
}

// TestWhatIsWrittenCanBeRead holds that each Parse reads what its String or Format writes.
func TestWhatIsWrittenCanBeRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Min(0).Draw(t, "size")
		n, ok, fits := ParseSize(FormatSize(size))
		same(t, FormatSize(size), n, ok && fits, size)

		duration := rapid.Int64Range(0, int64(50_000*Day/time.Millisecond)).Draw(t, "milliseconds")
		d, ok := ParseDuration(FormatDuration(time.Duration(duration) * time.Millisecond))
		same(t, FormatDuration(d), d, ok, time.Duration(duration)*time.Millisecond)

		rate := Rate{rapid.IntRange(1, 1<<31-1).Draw(t, "count"), rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour}).Draw(t, "per")}
		r, ok := ParseRate(rate.String())
		same(t, rate.String(), r, ok, rate)

		source := SourcePrefix{rapid.IntRange(1, 32).Draw(t, "IPv4"), rapid.IntRange(1, 128).Draw(t, "IPv6")}
		p, ok := ParseSourcePrefix(source.String())
		same(t, source.String(), p, ok, source)

		window := Window{From: rapid.IntRange(0, 1439).Draw(t, "from"), To: rapid.IntRange(1, 1440).Draw(t, "to")}
		for i := range window.Days {
			window.Days[i] = rapid.Bool().Draw(t, "day")
		}
		if window.Days != [7]bool{} && window.From != window.To {
			w, ok := ParseWindow(window.String())
			same(t, window.String(), w, ok, window)
		}

		addr := netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address of IPv4")))
		if rapid.Bool().Draw(t, "IPv6") {
			addr = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address of IPv6"))).Unmap()
		}
		network := netip.PrefixFrom(addr, rapid.IntRange(0, addr.BitLen()).Draw(t, "bits")).Masked()
		got, want := ParseNetwork(FormatNetwork(network))
		same(t, FormatNetwork(network), got, want == "", network)
	})
}

// TestNetworks holds that an address is the network of it alone, and IPv4 has one notation.
func TestNetworks(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"192.0.2.0/24", "192.0.2.0/24"},
		{"192.0.2.7/32", "192.0.2.7"},
		{"192.0.2.7", "192.0.2.7"},
		{"::ffff:10.0.0.0/104", "10.0.0.0/8"},
		{"2001:DB8::/32", "2001:db8::/32"},
		{"::/0", "::/0"},
		{text: ""}, {text: "192.0.2.7/24"}, {text: "fe80::1%eth0"}, {text: "::ffff:10.0.0.0/90"}, {text: "example.org"}, {text: "10.0.0.0/33"},
	} {
		p, want := ParseNetwork(tc.text)
		if got := FormatNetwork(p); (want == "") != (tc.want != "") || want == "" && got != tc.want {
			t.Errorf("%q: got %s, wanted %q, want %q", tc.text, got, want, tc.want)
		}
	}
}

// TestRates holds what is no rate.
func TestRates(t *testing.T) {
	for _, text := range []string{"0/s", "-1/s", "10", "10/", "10/d", "10/S", " 10/s", "1.5/s", "/s", "2147483648/s", "10/s/s"} {
		if r, ok := ParseRate(text); ok {
			t.Errorf("%q: got %v, want none", text, r)
		}
	}
	if r, ok := ParseRate(""); !ok || r != (Rate{}) {
		t.Errorf("nothing: got %v, %v, want no limit", r, ok)
	}
}
