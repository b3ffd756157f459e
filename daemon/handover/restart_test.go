package handover_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/handover"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
	"tcpmux/daemon/state"
	"tcpmux/daemon/systemd"
)

func TestClientsGoOnWithTheNextDaemon(t *testing.T) {
	d, st, conn := halfway(t, asJSON)
	first := d.AwaitRecords(`"data":"one"`)
	d.leave()
	conn.Say(" a line\n") // nobody runs
	next := st.next(asJSON)
	conn.Say("last\n")
	next.AwaitRecords(`"offset":4,"data":"half a line"`, `"offset":16,"data":"last"`)
	_ = conn.CloseWrite()
	second := next.AwaitRecords(`"kind":"close"`, `"reason":"eof","records":3,"bytes":21`)
	if rest := conn.HearEnd(); rest != "" {
		t.Errorf("heard %q, want no second banner", rest)
	}
	if a, b := sessionIn(t, first), sessionIn(t, second); a != b {
		t.Errorf("session: got %q, want %q as before", b, a)
	}
	if strings.Contains(d.Out.String(), `"kind":"close"`) {
		t.Errorf("first daemon: got %q, want nobody closed", d.Out)
	}
	if strings.Contains(next.Out.String(), `"kind":"open"`) {
		t.Errorf("second daemon: got %q, want nobody opened again", next.Out)
	}
	next.AwaitClients(0)
}

// TestWhatHappensWhileNobodyRunsIsRecorded, with the client's address, which the kernel has
// forgotten by then.
func TestWhatHappensWhileNobodyRunsIsRecorded(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*servertest.Client)
		want []string
	}{
		{"it says something and closes", func(c *servertest.Client) { c.Say(" a line\nlast"); _ = c.Close() },
			[]string{": half a line\n", " [eof]: last\n", ": eof, 3 records, 20 bytes\n"}},
		{"it says something and breaks off", func(c *servertest.Client) { c.Say(" a line\nlast"); _ = c.SetLinger(0); _ = c.Close() },
			[]string{": half a line\n", " [eof]: last\n", ": reset, 3 records, 20 bytes\n"}},
		{"it closes", func(c *servertest.Client) { _ = c.Close() }, []string{" [eof]: half\n", ": eof, 2 records, 8 bytes\n"}},
		{"it breaks off", func(c *servertest.Client) { _ = c.SetLinger(0); _ = c.Close() }, []string{" [eof]: half\n", ": reset, 2 records, 8 bytes\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, st, conn := halfway(t, nil)
			addr := conn.Addr()
			d.leave()
			c.end(conn)
			next := st.next(nil)
			for _, want := range append(c.want, "close from "+addr) {
				next.AwaitRecords(want)
			}
		})
	}
}

// TestWithoutStateConnectionsGoOn: a damaged file costs what only it knows.
func TestWithoutStateConnectionsGoOn(t *testing.T) {
	d, st, conn := halfway(t, asJSON)
	d.leave()
	st.lose(systemd.StateName, systemd.JournalName)
	next := st.next(asJSON)
	conn.Say(" a line\n")
	_ = conn.CloseWrite()
	next.AwaitRecords(`"offset":4,"data":"half a line"`, `"records":1,"bytes":16`)
}

// TestTheEndOfASessionIsHeardAtOnce although its connection still lies in the ring.
func TestTheEndOfASessionIsHeardAtOnce(t *testing.T) {
	d, st := surviving(t, nil)
	d.Open()
	conn := d.Greeted()
	other := d.Greeted() // in the same message of the ring, so that this one stays
	if err := d.handover.EnlistAll(); err != nil {
		t.Fatal(err)
	}
	_ = conn.CloseWrite()
	if rest := conn.HearEnd(); rest != "" {
		t.Errorf("heard %q, want the end", rest)
	}
	d.AwaitClients(1)
	d.leave()
	next := st.next(nil)
	if n := next.Server.Clients(); n != 1 {
		t.Errorf("clients of the next: got %d, want the other alone", n)
	}
	other.Say("on\n")
	next.AwaitRecords(other.Addr() + ": on\n")
}

// watchedKeeper calls a function before a connection is kept no longer.
type watchedKeeper struct {
	*handover.Handover
	retire func(*state.Slot)
}

// Keep implements server.Keeper.
func (k watchedKeeper) Keep(fd int, cookie uint64, opened time.Time, origin uint32) (*state.Slot, session.Keep) {
	slot, keep := k.Handover.Keep(fd, cookie, opened, origin)
	return slot, watchedKeep{keep, func() { k.retire(slot) }}
}

// watchedKeep calls a function before Retire.
type watchedKeep struct {
	session.Keep
	retire func()
}

// Retire implements session.Keep.
func (k watchedKeep) Retire() bool {
	k.retire()
	return k.Keep.Retire()
}

// TestASessionIsOverForTheNextDaemonFirst: when its peer is told of the end, a daemon that comes
// then goes on with it no more.
func TestASessionIsOverForTheNextDaemonFirst(t *testing.T) {
	d, _ := surviving(t, nil)
	closed := make(chan bool, 1)
	d.Server.SetKeeper(watchedKeeper{d.handover, func(s *state.Slot) { closed <- s.Closed() }})
	d.Open()
	c := d.Greeted()
	_ = c.CloseWrite()
	c.HearEnd()
	if got := <-closed; !got {
		t.Error("before its peer is told: got a session that is not closed, want a closed one")
	}
}

// TestNobodyGoesOnWithASessionThatIsOver: a daemon was killed when the end was recorded and the
// peer not told yet.
func TestNobodyGoesOnWithASessionThatIsOver(t *testing.T) {
	d, st, conn := halfway(t, nil)
	s := d.session()
	d.leave()
	s.Slot.SetClosed()
	next := st.next(nil)
	if n := next.Server.Clients(); n != 0 {
		t.Fatalf("clients of the next: got %d, want none", n)
	}
	if rest := conn.HearEnd(); rest != "" {
		t.Errorf("heard %q, want the end", rest)
	}
	if got := next.Out.String(); got != "" {
		t.Errorf("records: got %q, want none", got)
	}
}

// fillRing leaves no room in the ring of the first daemon.
func (s *store) fillRing() {
	s.t.Helper()
	in := s.stored[slices.IndexFunc(s.stored, func(d systemd.Socket) bool { return d.Name == systemd.RingName })]
	raw, err := in.File.SyscallConn()
	if err != nil {
		s.t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) {
		for err == nil {
			err = unix.Sendmsg(int(fd), []byte{0}, nil, nil, unix.MSG_DONTWAIT)
		}
	}); cerr != nil || err != unix.EAGAIN {
		s.t.Fatal(cerr, err)
	}
}

// TestTheStatusCountsClientsWithoutRoom, as they would end with the daemon.
func TestTheStatusCountsClientsWithoutRoom(t *testing.T) {
	d, st := surviving(t, func(c *config.Config) { c.SurviveAfter = 0 })
	d.Open()
	st.fillRing()
	d.Greeted()
	d.AwaitClients(1)
	if got := d.handover.Status(); got != "" {
		t.Errorf("before anybody has looked for room: got %q, want nothing", got)
	}
	if err := d.handover.EnlistAll(); err == nil {
		t.Fatal("got room in a full ring, want none")
	}
	if got, want := d.handover.Status(), "; 1 of them would end with the daemon"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestWhoFindsNoRoomIsDrained, and the others are served on meanwhile.
func TestWhoFindsNoRoomIsDrained(t *testing.T) {
	d, st := surviving(t, nil)
	d.Open()
	stays := d.Greeted()
	stays.Say("stays\n")
	d.AwaitRecords(": stays\n")
	if err := d.handover.EnlistAll(); err != nil {
		t.Fatal(err)
	}
	goes := d.Greeted()
	goes.Say("goes\n")
	d.AwaitRecords(": goes\n")
	st.fillRing()
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.leave()
	}()
	if rest := goes.HearEnd(); rest != "" { // half-closed
		t.Errorf("heard %q, want the end", rest)
	}
	stays.Say("meanwhile\n")
	d.AwaitRecords(stays.Addr() + ": meanwhile\n")
	goes.Say("last\n")
	_ = goes.Close()
	<-done
	d.AwaitRecords(goes.Addr()+": last\n", "close from "+goes.Addr()+": eof, 2 records")
	d.Log.Await(t, "clients end with the daemon")
	next := st.next(nil)
	stays.Say("on\n")
	next.AwaitRecords(stays.Addr() + ": on\n")
}
