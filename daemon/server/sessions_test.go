package server_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/control/api"
	"tcpmux/daemon/servertest"
)

// remotes returns the clients of sessions, in their order.
func remotes(s api.Sessions) (all []string) {
	for _, one := range s.Sessions {
		all = append(all, one.Remote)
	}
	return all
}

// sessionOf returns the session of a client.
func sessionOf(f *servertest.Fixture, c *servertest.Client) api.Session {
	f.T.Helper()
	for _, one := range f.Server.Sessions(api.Filter{}).Sessions {
		if one.Remote == c.Addr() {
			return one
		}
	}
	f.T.Fatalf("got no session of %s, want one", c.Addr())
	return api.Session{}
}

// awaitState waits until a session waits for something.
func awaitState(f *servertest.Fixture, c *servertest.Client, want string) {
	f.T.Helper()
	got := ""
	servertest.Eventually(f.T, func() bool { got = sessionOf(f, c).State; return got == want }, func() {
		f.T.Errorf("waits for %q, want %q", got, want)
	})
}

// from dials from an address of this machine.
func from(f *servertest.Fixture, b int, addr string) *servertest.Client {
	f.T.Helper()
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	c := servertest.Dial(f.T, f.Bindings[b].Listener.Addr.String(), d)
	c.Hear(f.Banner)
	return c
}

// threeClients are one of each of two sources at the first listener, and one at the other, in the
// order in which they have come. They have sent 1, 2 and 3 messages of 2 bytes.
func threeClients(t *testing.T) (*servertest.Fixture, [3]*servertest.Client) {
	t.Helper()
	f := servertest.New(t, withOther).Open()
	f.OpenToo(1)
	var all [3]*servertest.Client
	for i, at := range []struct {
		listener int
		source   string
	}{{0, "127.0.0.1"}, {0, "127.0.1.2"}, {1, "127.0.1.3"}} {
		all[i] = from(f, at.listener, at.source)
		all[i].Say(strings.Repeat("x\n", i+1))
		servertest.Eventually(t, func() bool { return sessionOf(f, all[i]).Records == int64(i+1) }, func() {
			t.Errorf("got %+v, want %d records", sessionOf(f, all[i]), i+1)
		})
	}
	return f, all
}

func TestSessionsAreSelectedAndSorted(t *testing.T) {
	f, all := threeClients(t)
	number := map[string]string{}
	for i, c := range all {
		number[c.Addr()] = fmt.Sprint(i)
	}
	for _, c := range []struct {
		name   string
		filter api.Filter
		want   string
		total  int
	}{
		{"all", api.Filter{}, "012", 3},
		{"the newest first", api.Filter{Sort: "-opened"}, "210", 3},
		{"by bytes", api.Filter{Sort: "-bytes"}, "210", 3},
		{"by records", api.Filter{Sort: "records"}, "012", 3},
		{"by the last message", api.Filter{Sort: "heard"}, "012", 3},
		{"by address", api.Filter{Sort: "-remote"}, "210", 3},
		{"of a listener", api.Filter{Listener: "tcpmux"}, "01", 2},
		{"of an address", api.Filter{Source: "127.0.1.2"}, "1", 1},
		{"of a prefix", api.Filter{Source: "127.0.1.0/24"}, "12", 2},
		{"of a mapped address", api.Filter{Source: "::ffff:127.0.1.2"}, "1", 1},
		{"of a mapped prefix", api.Filter{Source: "::ffff:127.0.1.0/120"}, "12", 2},
		{"of none", api.Filter{Source: "2001:db8::/32"}, "", 0},
		{"of no address", api.Filter{Source: "nobody"}, "", 0},
		{"with so many bytes", api.Filter{MinBytes: 4}, "12", 2},
		{"idle for long", api.Filter{Idle: 3600}, "", 0},
		{"the first", api.Filter{Limit: 1, Sort: "-bytes"}, "2", 3},
		{"one", api.Filter{ID: sessionOf(f, all[1]).ID}, "1", 1},
		{"both", api.Filter{Listener: "other", Source: "127.0.1.0/24"}, "2", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, order := f.Server.Sessions(c.filter), ""
			for _, remote := range remotes(got) {
				order += number[remote]
			}
			if order != c.want || got.Total != c.total || got.Sessions == nil {
				t.Errorf("got %q of %d, want %q of %d", order, got.Total, c.want, c.total)
			}
		})
	}
}

func TestASessionIsShown(t *testing.T) {
	f := servertest.New(t, nil).Open()
	began := time.Now().Add(-time.Second)
	c := f.Greeted()
	c.Say("one\nhalf")
	var d api.Detail
	servertest.Eventually(t, func() bool {
		d, _ = f.Server.Session(sessionOf(f, c).ID)
		return d.Records == 1 && d.Bytes == 4 && d.Partial == 4 // a process may tell of both messages first
	}, func() { t.Errorf("got %+v, want a record and half a message", d) })
	switch {
	case d.Listener != "tcpmux", d.Remote != c.Addr(), d.Local != f.Addr().String(), d.Framing != "line", d.Phase != "serving":
		t.Errorf("got %+v, want the session of %s", d, c.Addr())
	case d.Bytes != 4, d.Partial != 4, d.Opened.Before(began), d.Heard.Before(began), d.State != "client", d.Survives:
		t.Errorf("got %+v, want 4 bytes, as many of the next message, and times", d)
	case d.TCP == nil, d.TCP.State != "established", d.TCP.Received < 8, d.TCP.ReceiveWindow == 0:
		t.Errorf("got %+v, want what the kernel knows", d.TCP)
	}
	if _, found := f.Server.Session("nobody's"); found {
		t.Error("got a session that is not there")
	}
	if _, found := f.Server.Session(""); found {
		t.Error("got a session without a name")
	}
}

// TestKillEndsWhomItSelects, with what they have sent, and nobody else.
func TestKillEndsWhomItSelects(t *testing.T) {
	f, all := threeClients(t)
	all[1].Say("half")
	if n := f.Server.Kill(api.Filter{Source: "127.0.1.2"}); n != 1 {
		t.Errorf("got %d, want 1", n)
	}
	if rest := all[1].HearEnd(); rest != "" {
		t.Errorf("heard %q, want the end", rest)
	}
	f.AwaitRecords("close from " + all[1].Addr() + ": killed, ")
	f.Log.Await(t, "reason=killed")
	f.AwaitClients(2)
	for _, i := range []int{0, 2} {
		all[i].Say("on\n")
		f.AwaitRecords(all[i].Addr() + ": on\n")
	}
	if n := f.Server.Kill(api.Filter{ID: "nobody's"}); n != 0 {
		t.Errorf("nobody's session: got %d, want 0", n)
	}
	if n := f.Server.Kill(api.Filter{}); n != 2 {
		t.Errorf("all: got %d, want 2", n)
	}
	f.AwaitClients(0)
	if got := f.Server.Counts()["tcpmux"].Closed.Snapshot(); got["killed"] != 2 || len(got) != 1 {
		t.Errorf("closed: got %v, want 2 killed", got)
	}
}

// TestAKilledClientWaitsForTheSink, and neither a drain nor its end changes why it ends.
func TestAKilledClientWaitsForTheSink(t *testing.T) {
	f := servertest.New(t, nil).Open()
	c := f.Greeted()
	f.AwaitRecords(" open from ")
	resume := f.Out.Hang()
	defer resume()
	writes := f.Out.Begun()
	c.Say("one\n")
	servertest.Eventually(t, func() bool { return f.Out.Begun() > writes }, func() { t.Error("got no write, want one that hangs") })
	awaitState(f, c, "sink")
	c.Say("two\n")
	if n := f.Server.Kill(api.Filter{}); n != 1 {
		t.Errorf("got %d, want 1", n)
	}
	ended := f.Shutdown(servertest.Done())
	resume()
	if err := servertest.Result(t, ended); err != nil {
		t.Errorf("got %v, want nil: an administrator has ended it", err)
	}
	f.AwaitRecords(": one\n", ": two\n", "close from "+c.Addr()+": killed, 2 records, 8 bytes\n")
}

// TestKillEndsAProgram as the end of a drain does.
func TestKillEndsAProgram(t *testing.T) {
	for name, script := range map[string]string{
		"it obeys":         "echo here; exec sleep 1000",
		"it does not care": "trap '' TERM; echo here; while :; do sleep 1000; done",
	} {
		for _, recorded := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, recorded: %v", name, recorded), func(t *testing.T) {
				f := servertest.New(t, func(c *config.Config) {
					withProgram(script)(c)
					c.Listeners[1].Record = recorded
				}, servertest.StopGrace(50*time.Millisecond)).Open()
				f.OpenToo(1)
				c := programClient(f)
				state := map[bool]string{false: "program", true: "client"}[recorded]
				awaitState(f, c, state)
				if n := f.Server.Kill(api.Filter{Listener: "program"}); n != 1 {
					t.Errorf("got %d, want 1", n)
				}
				c.HearEnd()
				f.AwaitRecords("close from " + c.Addr() + ": killed, 0 records, 0 bytes\n")
			})
		}
	}
}

// TestKillRacesWithTheEndOfSessions: each ends once, whichever is first.
func TestKillRacesWithTheEndOfSessions(t *testing.T) {
	f := servertest.New(t, nil).Open()
	const clients = 30
	var all sync.WaitGroup
	for i := range clients {
		c := f.Greeted()
		c.Say("one\n")
		all.Go(func() {
			if i%2 == 0 {
				_ = c.Close()
			}
		})
		all.Go(func() { f.Server.Kill(api.Filter{Source: "127.0.0.1", MinBytes: int64(i % 3)}) })
	}
	all.Wait()
	f.Server.Kill(api.Filter{})
	f.AwaitClients(0)
	f.Finish()
	out := f.Out.String()
	if n := strings.Count(out, " close from "); n != clients {
		t.Errorf("got %d ends, want %d", n, clients)
	}
}

// TestADrainedListenerRefusesNewClients, those there go on, and so does the other listener.
func TestADrainedListenerRefusesNewClients(t *testing.T) {
	f := servertest.New(t, func(cfg *config.Config) {
		cfg.Listeners[0].Limits.Refusal = config.Text("later\n")
		withOther(cfg)
	}).Open()
	other := f.OpenToo(1)
	c := f.Greeted()
	if n, found := f.Server.Drain("tcpmux", true); n != 1 || !found || !f.Server.DrainingListener("tcpmux") {
		t.Errorf("got %d clients, found %v, want 1 and true", n, found)
	}
	f.Client().Refused("later\n")
	c.Say("on\n")
	f.AwaitRecords(c.Addr() + ": on\n")
	servertest.Dial(t, other.Listener.Addr.String(), nil).Hear(f.Banner)
	f.Server.Configure(f.Binding(), f.Config.Listeners[0], 0) // as a reload does
	f.Client().Refused("later\n")
	if got, want := f.Server.Counts()["tcpmux"].Refused.Snapshot(), map[string]int64{"draining": 2}; !maps.Equal(got, want) {
		t.Errorf("refused: got %v, want %v", got, want)
	}
	if n := f.Server.Refused(); n != 2 {
		t.Errorf("refused in all: got %d, want 2", n)
	}
	if _, found := f.Server.Drain("tcpmux", false); !found || f.Server.DrainingListener("tcpmux") {
		t.Error("undrain: it drains still")
	}
	f.Greeted()
	if _, found := f.Server.Drain("nobody's", true); found || f.Server.DrainingListener("nobody's") {
		t.Error("got a listener that is not there")
	}
}

func TestCountsAreThoseOfTheListener(t *testing.T) {
	f, all := threeClients(t)
	f.Server.Kill(api.Filter{Listener: "other"})
	_ = all[0].Close()
	f.AwaitClients(1)
	silent := f.Greeted()
	_ = silent.Close()
	f.AwaitClients(1)
	for name, want := range map[string][6]int64{"tcpmux": {3, 1, 1, 3, 6, 3}, "other": {1, 0, 0, 3, 6, 3}} {
		c := f.Server.Counts()[name]
		size := c.Size.Snapshot()
		got := [6]int64{c.Visits.Load(), c.Clients.Load(), c.Silent.Load(), c.Records.Load(), c.Bytes.Load(), size.Count}
		if got != want || size.Sum != want[4] || c.Delay.Snapshot().Count != c.Batch.Snapshot().Count || c.Batch.Snapshot().Sum != want[3] {
			t.Errorf("%s: got %v, want %v: visits, clients, silent, records, bytes, sizes", name, got, want)
		}
	}
}

// TestAcknowledgementsAreCounted, also those that a process sends.
func TestAcknowledgementsAreCounted(t *testing.T) {
	f := servertest.New(t, func(c *config.Config) { c.Listeners[0].Ack = config.Text("ok\n") }).Open()
	c := f.Greeted()
	for range 3 {
		c.Say("one\ntwo\n")
		c.Hear("ok\nok\n")
	}
	acks := &f.Server.Counts()["tcpmux"].Acks
	servertest.Eventually(t, func() bool { return acks.Load() == 6 }, func() { t.Errorf("got %d, want 6", acks.Load()) })
}

// TestATailFollowsWhatIsRecorded of the sessions that it selects, as they say it.
func TestATailFollowsWhatIsRecorded(t *testing.T) {
	f := servertest.New(t, withOther).Open()
	other := f.OpenToo(1)
	tail := f.Server.Tail(api.Filter{Listener: "tcpmux"})
	defer tail.Close()
	servertest.Dial(t, other.Listener.Addr.String(), nil).Say("not this\n")
	c := f.Greeted()
	c.Say("one\n")
	f.AwaitRecords(": one\n")
	c.Say("two\nhalf")
	_ = c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
	defer cancel()
	for _, want := range []string{"open   ", "message one  ", "message two  ", "message half eof ", "close   eof"} {
		rec, err := tail.Next(ctx)
		got := fmt.Sprintf("%s %s %s %s", rec.Kind, rec.Data, rec.Flag, rec.Reason)
		if err != nil || got != want || rec.Remote != c.Addr() || rec.Session == "" || rec.Time.IsZero() {
			t.Errorf("got %q of %q and %v, want %q", got, rec.Remote, err, want)
		}
	}
	none := f.Server.Tail(api.Filter{Source: "nobody"})
	defer none.Close()
	done, cancelled := context.WithCancel(t.Context())
	f.Greeted()
	f.AwaitClients(2)
	cancelled()
	if rec, err := none.Next(done); err == nil {
		t.Errorf("got %+v, want nothing", rec)
	}
}

// TestSessionsAreShownAllTheirLives: the race detector reports what is not safe.
func TestSessionsAreShownAllTheirLives(t *testing.T) {
	f := servertest.New(t, nil).Open()
	ctx, cancel := context.WithCancel(t.Context())
	var watching, clients sync.WaitGroup
	for range 2 {
		watching.Go(func() {
			for ctx.Err() == nil {
				for _, s := range f.Server.Sessions(api.Filter{Sort: "-bytes"}).Sessions {
					f.Server.Session(s.ID)
				}
				f.Server.Surviving()
			}
		})
	}
	for range 4 {
		clients.Go(func() {
			for range 10 {
				c := f.Greeted()
				c.Say("one\ntwo\nhalf")
				_ = c.Close()
			}
		})
	}
	clients.Wait()
	f.AwaitClients(0)
	cancel()
	watching.Wait()
}
