package admission

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, s := range texts {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

func TestTheLongestPrefixDecides(t *testing.T) {
	for _, c := range []struct {
		name        string
		allow, deny []netip.Prefix
		in, out     []string
	}{
		{"no rules", nil, nil, []string{"192.0.2.1", "2001:db8::1"}, nil},
		{"allow alone", prefixes("192.0.2.0/24"), nil, []string{"192.0.2.255"}, []string{"192.0.3.0", "2001:db8::1", "::c000:201"}},
		{"deny alone", nil, prefixes("192.0.2.0/24"), []string{"192.0.3.0", "::c000:201"}, []string{"192.0.2.0"}},
		{"a hole in what is allowed", prefixes("10.0.0.0/8"), prefixes("10.1.0.0/16"), []string{"10.0.0.1", "10.2.0.0"}, []string{"10.1.0.0", "11.0.0.0"}},
		{"an island in what is denied", prefixes("10.1.2.0/24", "10.1.2.3/32"), prefixes("10.0.0.0/8", "10.1.2.128/25"), []string{"10.1.2.3"}, []string{"10.1.2.129", "10.3.0.1", "192.0.2.1"}},
		{"everybody but one", prefixes("0.0.0.0/0", "::/0"), prefixes("2001:db8::1/128"), []string{"192.0.2.1", "2001:db8::2"}, []string{"2001:db8::1"}},
		{"IPv4 is no IPv6", prefixes("::/0"), nil, []string{"2001:db8::1"}, []string{"192.0.2.1"}},
		{"in both", prefixes("10.0.0.0/8"), prefixes("10.0.0.0/8"), nil, []string{"10.0.0.1"}},
		{"IPv4 within IPv6", prefixes("192.0.2.0/24"), nil, []string{"::ffff:192.0.2.1"}, []string{"::ffff:192.0.3.1"}},
		{"a link-local zone", prefixes("fe80::/10"), nil, []string{"fe80::1%eth0"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := Gate{Rules: NewRules(c.allow, c.deny)}
			for _, text := range slices.Concat(c.in, c.out) {
				want := Admitted
				if slices.Contains(c.out, text) {
					want = Denied
				}
				if _, got := g.Enter(netip.MustParseAddr(text), time.Now()); got != want {
					t.Errorf("%s: got %v, want %v", text, got, want)
				}
			}
		})
	}
}

func TestNoAddressIsNobody(t *testing.T) {
	if _, got := (&Gate{Rules: NewRules(prefixes("0.0.0.0/0", "::/0"), nil)}).Enter(netip.Addr{}, time.Now()); got != Denied {
		t.Errorf("got %v, want %v", got, Denied)
	}
}

// gate is the gate of a listener and a daemon that both have limits.
func gate(listener, daemon Limits) Gate {
	g := Gate{Sources: [2]*Sources{{}, {}}}
	g.Sources[0].Configure(listener)
	g.Sources[1].Configure(daemon)
	return g
}

func (g Gate) enter(t *testing.T, addr string, now time.Time, want Verdict) Pass {
	t.Helper()
	p, got := g.Enter(netip.MustParseAddr(addr), now)
	if got != want {
		t.Errorf("%s: got %v, want %v", addr, got, want)
	}
	return p
}

func TestClientsOfASourceAreCounted(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name         string
		ipv4, ipv6   int
		first        string
		same, others []string
	}{
		{"an IPv4 address", 32, 64, "192.0.2.1", []string{"192.0.2.1", "::ffff:192.0.2.1"}, []string{"192.0.2.2", "::c000:201"}},
		{"an IPv4 network", 24, 64, "192.0.2.1", []string{"192.0.2.255"}, []string{"192.0.3.1"}},
		{"an IPv6 network", 32, 64, "2001:db8::1", []string{"2001:db8::ffff:0:1"}, []string{"2001:db8:0:1::1"}},
		{"a user of this machine", 32, 1, "100::3e8", []string{"100::3e8"}, []string{"100::3e9", "100:0:0:1::3e8"}},
		{"an IPv6 address", 32, 128, "2001:db8::1", []string{"2001:db8::1"}, []string{"2001:db8::2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := gate(Limits{}, Limits{Clients: 2, IPv4: c.ipv4, IPv6: c.ipv6})
			p := g.enter(t, c.first, now, Admitted)
			g.enter(t, c.first, now, Admitted)
			for _, addr := range c.same {
				g.enter(t, addr, now, Crowded)
			}
			for _, addr := range c.others {
				g.enter(t, addr, now, Admitted)
			}
			p.Release()
			g.enter(t, c.same[0], now, Admitted)
			g.enter(t, c.same[0], now, Crowded)
		})
	}
}

// TestRefusedClientsDoNotCount, neither at the listener nor at the daemon.
func TestRefusedClientsDoNotCount(t *testing.T) {
	now := time.Now()
	g := gate(Limits{Clients: 5, IPv4: 32, IPv6: 64}, Limits{Clients: 2, IPv4: 32, IPv6: 64})
	for range 2 {
		g.enter(t, "192.0.2.1", now, Admitted)
	}
	for range 10 {
		g.enter(t, "192.0.2.1", now, Crowded)
	}
	g.Sources[1].Configure(Limits{Clients: 9, IPv4: 32, IPv6: 64})
	for range 3 {
		g.enter(t, "192.0.2.1", now, Admitted)
	}
	g.enter(t, "192.0.2.1", now, Crowded)
}

func TestSourcesThatHaveLeftAreForgotten(t *testing.T) {
	g := gate(Limits{Clients: 1, IPv4: 32, IPv6: 64}, Limits{Clients: 1, IPv4: 32, IPv6: 64})
	g.enter(t, "192.0.2.1", time.Now(), Admitted).Release()
	for _, s := range g.Sources {
		if n := len(s.clients); n != 0 {
			t.Errorf("sources remembered: got %d, want none", n)
		}
	}
}

func TestReconfiguringKeepsTheCounts(t *testing.T) {
	now := time.Now()
	limits := Limits{Clients: 1, Rate: Rate{2, time.Hour}, IPv4: 32, IPv6: 64}
	g := gate(Limits{}, limits)
	p := g.enter(t, "192.0.2.1", now, Admitted)
	g.Sources[1].Configure(limits)
	g.enter(t, "192.0.2.1", now, Crowded)
	p.Release()
	g.enter(t, "192.0.2.1", now, Admitted).Release()
	g.Sources[1].Configure(limits)
	g.enter(t, "192.0.2.1", now, Hasty)
	limits.IPv4 = 8
	p = g.enter(t, "192.0.2.2", now, Admitted)
	g.Sources[1].Configure(limits)
	p.Release() // the source by which it was counted
	if n := len(g.Sources[1].clients); n != 0 {
		t.Errorf("sources remembered: got %d, want none", n)
	}
}

func TestRate(t *testing.T) {
	for _, rate := range []Rate{{1, time.Second}, {3, time.Second}, {7, time.Minute}, {10, time.Hour}, {1_000_000, time.Second}} {
		g, now := gate(Limits{}, Limits{Rate: rate, IPv4: 32, IPv6: 64}), time.Now()
		const visitor, other = "192.0.2.1", "192.0.2.2"
		for range rate.Count {
			g.enter(t, visitor, now, Admitted)
		}
		g.enter(t, visitor, now, Hasty)
		g.enter(t, other, now, Admitted)
		now = now.Add(rate.Per/time.Duration(rate.Count) + 1)
		g.enter(t, visitor, now, Admitted)
		g.enter(t, visitor, now, Hasty)
		now = now.Add(100 * rate.Per) // what was not used does not accumulate
		for range rate.Count {
			g.enter(t, visitor, now, Admitted)
		}
		g.enter(t, visitor, now, Hasty)
	}
}

// random returns source addresses that no two seeds share, cheaply.
func random(n uint64) netip.Addr {
	n *= 0x9e3779b97f4a7c15
	n ^= n >> 29
	var b [16]byte
	for i := range 8 {
		b[i] = byte(n >> (8 * i))
	}
	return netip.AddrFrom16(b)
}

// TestAFloodOfRandomSources: ten million sources, or fewer under the race detector, need no more
// memory, and a source that was too fast is remembered. How long a decision takes is logged.
func TestAFloodOfRandomSources(t *testing.T) {
	const sources, chunk = 10_000_000 / slowness, 10_000_000 / slowness / 100
	g, now := gate(Limits{}, Limits{Clients: 10, Rate: Rate{100, time.Minute}, IPv4: 32, IPv6: 64}), time.Now()
	const hasty = "192.0.2.1"
	for range 100 {
		g.enter(t, hasty, now, Admitted).Release()
	}
	before, fastest := heap(), time.Hour
	for n := 0; n < sources; n += chunk {
		began := time.Now()
		for i := range chunk {
			p, _ := g.Enter(random(uint64(n+i)), now)
			p.Release()
		}
		fastest = min(fastest, time.Since(began)/chunk)
		g.enter(t, hasty, now, Hasty)
	}
	if grown := int64(heap()) - int64(before); grown > 1<<20 {
		t.Errorf("memory: grew by %d bytes over %d sources, want 1 MiB at most", grown, sources)
	}
	runtime.KeepAlive(g)
	t.Logf("a decision and its release: %v", fastest)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestADecisionAllocatesNothing(t *testing.T) {
	g, now := gate(Limits{Clients: 1, IPv4: 32, IPv6: 64}, Limits{Clients: 10, Rate: Rate{1000, time.Second}, IPv4: 32, IPv6: 64}), time.Now()
	g.Rules = NewRules(prefixes("0.0.0.0/0", "10.0.0.0/8"), prefixes("10.1.0.0/16"))
	addr := netip.MustParseAddr("10.2.0.1")
	if n := testing.AllocsPerRun(1000, func() {
		p, _ := g.Enter(addr, now)
		p.Release()
	}); n != 0 {
		t.Errorf("got %v allocations a decision, want none", n)
	}
}

func BenchmarkEnter(b *testing.B) {
	now := time.Now()
	full := Limits{Clients: 10, Rate: Rate{100, time.Second}, IPv4: 32, IPv6: 64}
	for _, c := range []struct {
		name string
		gate Gate
	}{
		{"nothing", gate(Limits{}, Limits{})},
		{"everything", Gate{Rules: NewRules(prefixes("::/0", "2001:db8::/32"), prefixes("2001:db8:1::/48")), Sources: gate(full, full).Sources}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				p, _ := c.gate.Enter(random(uint64(i)), now)
				p.Release()
			}
		})
	}
}

// BenchmarkEnterAtOnce is BenchmarkEnter by as many accept loops as -cpu says, whose clients are of
// different sources.
func BenchmarkEnterAtOnce(b *testing.B) {
	full := Limits{Clients: 10, Rate: Rate{100, time.Second}, IPv4: 32, IPv6: 64}
	g, now := gate(full, full), time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for i := rand.Uint64(); pb.Next(); i++ {
			p, _ := g.Enter(random(i), now)
			p.Release()
		}
	})
}

// TestAdmitsAll: AdmitsAll is true only if Transfer admits any client and leaves its pass as it is.
func TestAdmitsAll(t *testing.T) {
	limited, common := new(Sources), new(Sources)
	limited.Configure(Limits{Clients: 1, IPv4: 32, IPv6: 64})
	common.Configure(Limits{Clients: 10, IPv4: 32, IPv6: 64})
	var open, other Sources
	addr, now := netip.MustParseAddr("192.0.2.1"), time.Now()
	before := Gate{Sources: [2]*Sources{limited, common}}
	counted, v := before.Enter(addr, now)
	if v != Admitted {
		t.Fatal(v)
	}
	defer counted.Release()
	before.Sources[0] = nil
	uncounted, _ := before.Enter(addr, now)
	defer uncounted.Release()
	for name, c := range map[string]struct {
		gate Gate
		pass Pass
		want bool
	}{
		"open":                      {Gate{Sources: [2]*Sources{&open, common}}, uncounted, true},
		"open, no pass":             {Gate{}, Pass{}, true},
		"a place to give back":      {Gate{Sources: [2]*Sources{&open, common}}, counted, false},
		"rules":                     {Gate{Rules: NewRules(nil, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})}, uncounted, false},
		"hours":                     {Gate{Hours: Hours{{}}}, uncounted, false},
		"a limit":                   {Gate{Sources: [2]*Sources{limited, common}}, uncounted, false},
		"a limit for all listeners": {Gate{Sources: [2]*Sources{&other, common}}, uncounted, true},
	} {
		p := c.pass
		if got := c.gate.AdmitsAll(p); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
		if v := c.gate.Transfer(&p, addr, now); c.want && (v != Admitted || p != c.pass) {
			t.Errorf("%s: a client that goes over is %v, want it admitted as it is", name, v)
		}
	}
}
