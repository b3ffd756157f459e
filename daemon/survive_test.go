package daemon

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/ring"
	"tcpmux/daemon/state"
)

// estate is what a service manager keeps of a daemon: the ends of its ring, and its state.
type estate struct {
	t             *testing.T
	ends          [2]int
	state         int
	journal       int           // -1: there is none
	withoutMemory bool          // the state is lost on the way
	fault         error         // of the next daemon's disk
	silence       time.Duration // how much longer than they were the next daemon believes that clients were silent
}

// surviving is a desk whose clients outlive it, and its estate.
func surviving(t *testing.T, change func(*config.Config)) (*desk, *estate) {
	t.Helper()
	d := newDesk(t, change)
	r, err := ring.New(0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := state.New(100)
	if err != nil {
		t.Fatal(err)
	}
	a, b := r.Ends()
	e := &estate{t: t, ends: [2]int{dup(t, a), dup(t, b)}, state: dup(t, f.FD()), journal: -1}
	t.Cleanup(func() { _, _, _ = unix.Close(e.ends[0]), unix.Close(e.ends[1]), unix.Close(e.state) })
	d.outlived(r, f)
	return d, e
}

// journaled has a desk that is not open yet keep a journal of its records, which is part of the estate.
func (e *estate) journaled(d *desk) {
	e.t.Helper()
	j, err := record.NewJournal()
	if err != nil {
		e.t.Fatal(err)
	}
	e.journal = dup(e.t, j.FD())
	e.t.Cleanup(func() { _ = unix.Close(e.journal) })
	d.sink.Keep(j)
}

// halfway is surviving, with a client that has said a line, which is recorded, and half of the next.
func halfway(t *testing.T, change func(*config.Config)) (*desk, *estate, *client) {
	t.Helper()
	d, e := surviving(t, change)
	d.open()
	conn := d.greeted()
	conn.say("one\nhalf")
	d.records("one")
	return d, e, conn
}

func dup(t *testing.T, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (d *desk) outlived(r *ring.Ring, f *state.File) {
	d.srv.survival = &survival{ring: r, state: f, keep: true}
	d.t.Cleanup(r.Close)
}

// heir is the next daemon: it goes on with the clients of the estate.
func (e *estate) heir(change func(*config.Config)) *desk {
	e.t.Helper()
	d := newDesk(e.t, change)
	d.out.fail(e.fault)
	d.srv.knowledge = func(fd int) (known, error) {
		k, err := knowledge(fd)
		k.heard = k.heard.Add(-e.silence)
		return k, err
	}
	r, err := ring.Open(dup(e.t, e.ends[0]), dup(e.t, e.ends[1]), 0)
	if err != nil {
		e.t.Fatal(err)
	}
	var f *state.File
	if !e.withoutMemory {
		if f, err = state.Open(dup(e.t, e.state)); err != nil {
			e.t.Fatal(err)
		}
	}
	d.outlived(r, f)
	position := int64(math.MaxInt32) // whatever was marked is written
	if e.journal >= 0 {
		j, err := record.OpenJournal(dup(e.t, e.journal))
		if err != nil {
			e.t.Fatal(err)
		}
		position = j.Settle("", record.Text)
		d.sink.Keep(j)
	}
	if f != nil {
		f.Settle(position)
	}
	if err := r.Adopt(d.srv.adopt([]*listener{d.ln})); err != nil {
		e.t.Fatal(err)
	}
	return d.open()
}

// leave has a desk leave its clients.
func (d *desk) leave() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d.srv.Settle(ctx)
	if err := d.srv.Leave(ctx); err != nil {
		d.t.Errorf("leave: got %v, want nil", err)
	}
}

// asJSON writes records that tell all.
func asJSON(c *config.Config) { c.Record.Format = "json" }

// sessionIn is the name of the session of a page's only client, as all of its records have it.
func sessionIn(t *testing.T, page string) (name string) {
	t.Helper()
	for line := range strings.Lines(page) {
		_, rest, _ := strings.Cut(line, `"session":"`)
		now, _, _ := strings.Cut(rest, `"`)
		if name != "" && now != name {
			t.Errorf("session: got %q and %q, want one", name, now)
		}
		name = now
	}
	return name
}

func TestClientsGoOnWithTheNextDaemon(t *testing.T) {
	d, e, conn := halfway(t, asJSON)
	first := d.records(`"data":"one"`)
	d.leave()
	conn.say(" a line\n") // nobody runs
	next := e.heir(asJSON)
	conn.say("last\n")
	next.records(`"offset":4,"data":"half a line"`, `"offset":16,"data":"last"`)
	_ = conn.CloseWrite()
	second := next.records(`"kind":"close"`, `"reason":"eof","records":3,"bytes":21`)
	if rest := conn.hearEnd(); rest != "" {
		t.Errorf("heard %q, want no second banner", rest)
	}
	if a, b := sessionIn(t, first), sessionIn(t, second); a != b {
		t.Errorf("session: got %q, want %q as before", b, a)
	}
	if strings.Contains(d.out.String(), `"kind":"close"`) {
		t.Errorf("first daemon: got %q, want nobody closed", d.out)
	}
	if strings.Contains(next.out.String(), `"kind":"open"`) {
		t.Errorf("second daemon: got %q, want nobody opened again", next.out)
	}
	next.awaitClients(0)
}

// TestWhatHappensWhileNobodyRunsIsRecorded, with the client's address, which the kernel has forgotten by then.
func TestWhatHappensWhileNobodyRunsIsRecorded(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*client)
		want []string
	}{
		{"it says something and closes", func(c *client) { c.say(" a line\nlast"); _ = c.Close() },
			[]string{": half a line\n", " [eof]: last\n", ": eof, 3 records, 20 bytes\n"}},
		{"it says something and breaks off", func(c *client) { c.say(" a line\nlast"); _ = c.SetLinger(0); _ = c.Close() },
			[]string{": half a line\n", " [eof]: last\n", ": reset, 3 records, 20 bytes\n"}},
		{"it closes", func(c *client) { _ = c.Close() }, []string{" [eof]: half\n", ": eof, 2 records, 8 bytes\n"}},
		{"it breaks off", func(c *client) { _ = c.SetLinger(0); _ = c.Close() }, []string{" [eof]: half\n", ": reset, 2 records, 8 bytes\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, e, conn := halfway(t, nil)
			addr := conn.addr()
			d.leave()
			c.end(conn)
			next := e.heir(nil)
			for _, want := range append(c.want, "close from "+addr) {
				next.records(want)
			}
		})
	}
}

// stuck has a desk, whose records cannot be written, leave its clients once it has taken records of them.
func (d *desk) stuck(say func()) {
	d.t.Helper()
	d.out.fail(errDisk)
	writes := d.out.begun()
	say()
	eventually(d.t, func() bool { return d.out.begun() > writes }, func() { d.t.Error("got no write, want one") })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	left := make(chan error, 1)
	go func() {
		d.srv.Settle(ctx)
		left <- d.srv.Leave(ctx)
	}()
	eventually(d.t, d.srv.draining.Load, func() { d.t.Error("the daemon does not leave") })
	d.sink.Close()
	if err := <-left; err != nil {
		d.t.Fatal(err)
	}
}

// TestWhatADaemonHasTakenTheNextWrites, once, as text too: its session goes on behind it.
func TestWhatADaemonHasTakenTheNextWrites(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*client)
		want []string
	}{
		{"its opening", nil, []string{": eof, 0 records, 0 bytes\n"}},
		{"messages", func(c *client) { c.say("one\ntwo\nhalf") }, []string{": one\n", ": two\n", " [eof]: half\n", ": eof, 3 records, 12 bytes\n"}},
		{"its end", func(c *client) { _ = c.CloseWrite() }, []string{": eof, 0 records, 0 bytes\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, e := surviving(t, nil)
			e.journaled(d)
			d.open()
			var conn *client
			if c.end != nil {
				conn = d.greeted()
				d.records(" open from ")
			}
			d.stuck(func() {
				if c.end == nil {
					conn = d.greeted()
				} else {
					c.end(conn)
				}
			})
			e.fault = errDisk
			e.heir(nil).stuck(func() {}) // that this one is stuck as well changes nothing
			e.fault = nil
			next := e.heir(nil)
			_ = conn.CloseWrite()
			next.records(c.want...)
			next.awaitClients(0)
			conn.hearEnd()
			got := d.out.String() + next.out.String()
			if n := strings.Count(got, "\n"); n != len(c.want)+1 {
				t.Errorf("got %d records %q, want %d: the opening and %q", n, got, len(c.want)+1, c.want)
			}
		})
	}
}

// TestWhatTheDaemonBeforeHasRecordedIsCountedByTheNext too, with what the framing has to know there: it may die as well.
func TestWhatTheDaemonBeforeHasRecordedIsCountedByTheNext(t *testing.T) {
	d, e, conn := halfway(t, asJSON)
	s := d.onlySession()
	d.leave()
	s.slot.Mark(state.Written{Offset: int64(len("one\nha")), Records: 2, Opened: true}, 1) // a piece, as memory was short
	next := e.heir(asJSON)
	slot, want := next.onlySession().slot, state.Tally{Offset: int64(len("one\nha")), Records: 2, Framing: 1}
	eventually(t, func() bool { return slot.Tally() == want }, func() { t.Errorf("tally: got %+v, want %+v", slot.Tally(), want) })
	next.leave()
	last := e.heir(asJSON)
	conn.say("\n")
	last.records(`"offset":6,"data":"lf","end":"\u000a","flag":"cut"}`)
}

// TestASessionIsMarkedBeforeItsRecordsAreWritten with all that the next daemon has to know of them.
func TestASessionIsMarkedBeforeItsRecordsAreWritten(t *testing.T) {
	d, e := surviving(t, nil)
	e.journaled(d)
	var mu sync.Mutex
	var got []state.Written
	d.srv.sink = &watchedSink{sink: d.srv.sink, before: func() {
		d.srv.mu.Lock()
		defer d.srv.mu.Unlock()
		for s := range d.srv.sessions {
			mu.Lock()
			if w := s.slot.Written(); len(got) == 0 || got[len(got)-1] != w {
				got = append(got, w)
			}
			mu.Unlock()
		}
	}}
	d.open()
	conn := d.greeted()
	d.records(" open from ")
	conn.say("one\n")
	d.records(": one\n")
	_ = conn.CloseWrite()
	d.records(" close from ")
	d.awaitClients(0)
	want := []state.Written{
		{},
		{Opened: true},
		{Offset: 4, Records: 1, Opened: true},
		{Offset: 4, Records: 1, Opened: true, Closed: true},
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestASuspectIsClosedAsHavingComeToWhatIsRecorded, though the daemon died before it could count that.
func TestASuspectIsClosedAsHavingComeToWhatIsRecorded(t *testing.T) {
	d, e, conn := halfway(t, nil)
	for crash := 1; crash <= maxCrashes; crash++ {
		s := d.onlySession()
		d.leave()
		if crash == maxCrashes { // before it could go on from there
			s.slot.Mark(state.Written{Offset: int64(len("one\nha")), Records: 2, Opened: true}, 1)
		}
		s.slot.SetBusy(true) // as if it had died
		d = e.heir(nil)
	}
	d.records("close from "+conn.addr(), ": suspect, 2 records, 6 bytes\n")
}

// TestNothingIsRecordedTwice: the first daemon has written one message and dies before it has taken anything from the socket.
func TestNothingIsRecordedTwice(t *testing.T) {
	d, e := surviving(t, asJSON)
	d.open()
	conn := d.greeted()
	d.records(`"kind":"open"`)
	slot := d.onlySession().slot
	d.stuck(func() { conn.say("one\ntwo\nhalf") })
	slot.Mark(state.Written{Offset: int64(len("one\n")), Records: 1}, 1)
	next := e.heir(asJSON)
	conn.say("\n")
	_ = conn.CloseWrite()
	got := next.records(`"offset":4,"data":"two"`, `"offset":8,"data":"half"`, `"records":3,"bytes":13`)
	if strings.Contains(got, `"one"`) {
		t.Errorf("got %q, want no message that the first daemon has written", got)
	}
}

// TestWithoutStateConnectionsGoOn: a damaged file costs what only it knows.
func TestWithoutStateConnectionsGoOn(t *testing.T) {
	d, e, conn := halfway(t, asJSON)
	d.leave()
	e.withoutMemory = true
	next := e.heir(asJSON)
	conn.say(" a line\n")
	_ = conn.CloseWrite()
	next.records(`"offset":4,"data":"half a line"`, `"records":1,"bytes":16`)
}

// TestALongMessageGoesOnWithTheNextDaemon, though its beginning is out of the kernel.
func TestALongMessageGoesOnWithTheNextDaemon(t *testing.T) {
	d, e := surviving(t, asJSON)
	d.open()
	conn := d.greeted()
	long := strings.Repeat("x", moveSize+1)
	conn.say("one\n" + long)
	d.kernelHolds(0)
	for range 2 {
		d.leave()
		d = e.heir(asJSON)
		conn.say(long)
		d.kernelHolds(0)
	}
	conn.say("end\nnext\n")
	next := fmt.Sprint(4 + 3*len(long) + 4)
	d.records(`"offset":4,"data":"`+strings.Repeat(long, 3)+`end"`, `"offset":`+next+`,"data":"next"`)
}

// TestWhatACrashWouldLoseIsKept, before it can come: what is out of the kernel and not recorded, and what the framing has to know.
func TestWhatACrashWouldLoseIsKept(t *testing.T) {
	long := strings.Repeat("x", moveSize+1)
	const head = "\x00\x01\x00\x00" // of 64 KiB
	prefixed := func(c *config.Config) { c.Listeners[0].Framing, c.Listeners[0].MaxMessage = "length-prefixed", 1024 }
	acknowledged := func(c *config.Config) { prefixed(c); c.Listeners[0].Ack = config.Text("ok\n") }
	for _, c := range []struct {
		name    string
		change  func(*config.Config)
		say     []string
		tally   state.Tally
		shelved string
	}{
		{"a message", nil, []string{"one\n"}, state.Tally{Offset: 4, Records: 1}, ""},
		{"a long beginning", nil, []string{"one\n" + long}, state.Tally{Offset: 4, Records: 1}, long},
		{"a beginning that grows", nil, []string{"one\n" + long, long, "!"}, state.Tally{Offset: 4, Records: 1}, long + long + "!"},
		{"a long message that ends", nil, []string{long, "\n"}, state.Tally{Offset: moveSize + 2, Records: 1}, ""},
		{"the next long beginning", nil, []string{long, "\n" + long}, state.Tally{Offset: moveSize + 2, Records: 1}, long},
		{"acknowledged", func(c *config.Config) { c.Listeners[0].Ack = config.Text("ok\n") }, []string{"one\n" + long}, state.Tally{Offset: 4, Records: 1}, long},
		{"a piece", prefixed, []string{head + long[:1500]}, state.Tally{Offset: 1028, Records: 1, Framing: 1<<16 - 1024}, ""},
		{"a piece, to be acknowledged", acknowledged, []string{head + long[:1500]}, state.Tally{Offset: 1028, Records: 1, Framing: 1<<16 - 1024, Pieces: 1028}, ""},
		{"all pieces", prefixed, []string{head + strings.Repeat("x", 1<<16)}, state.Tally{Offset: 4 + 1<<16, Records: 64}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, _ := surviving(t, c.change)
			d.open()
			conn := d.greeted()
			said := 0
			for _, text := range c.say {
				d.kernelHolds(0)
				conn.say(text)
				said += len(text)
			}
			slot := d.onlySession().slot
			eventually(t, func() bool { return slot.Tally() == c.tally }, func() { t.Errorf("tally: got %+v, want %+v", slot.Tally(), c.tally) })
			d.kernelHolds(said - int(c.tally.Offset) - len(c.shelved))
			taken := c.tally.Offset + int64(len(c.shelved))
			if got, base := slot.Shelf(taken); string(got) != c.shelved || len(got) > 0 && base != c.tally.Offset {
				t.Errorf("shelf: got %d bytes from %d, want %d from %d", len(got), base, len(c.shelved), c.tally.Offset)
			}
		})
	}
}

// TestWhatIsRecordedIsTaken though the daemon was killed before it had taken it from its socket: nothing is recorded twice, as text
// neither.
func TestWhatIsRecordedIsTaken(t *testing.T) {
	d, e, conn := halfway(t, nil)
	s := d.onlySession()
	d.leave()
	conn.say(" a line\nnext\nlast\n")
	s.slot.Count(state.Tally{Offset: int64(len("one\nhalf a line\n")), Records: 2}) // as if it had been recorded
	next := e.heir(nil)
	_ = conn.CloseWrite()
	got := next.records(": next\n", ": last\n", ": eof, 4 records, 26 bytes\n")
	if strings.Contains(got, "a line") {
		t.Errorf("got %q, want no message that was recorded before", got)
	}
}

// TestALongMessageIsInPiecesWhenItsDaemonLeaves: what is out of the kernel, and on no shelf, would be lost otherwise.
func TestALongMessageIsInPiecesWhenItsDaemonLeaves(t *testing.T) {
	d, e := surviving(t, nil)
	d.srv.survival.state = nil
	e.withoutMemory = true
	d.open()
	conn := d.greeted()
	long := strings.Repeat("x", moveSize+1)
	conn.say(long)
	d.kernelHolds(0)
	d.leave()
	d.records(" [cut]: " + long + "\n")
	next := e.heir(nil)
	conn.say("rest\nnext\n")
	next.records(": rest\n", ": next\n") // that it is one too, only the state knows
}

// TestWhoWasSilentBeforeIsSilentStill: silence counts from the last byte, whoever was there to hear it.
func TestWhoWasSilentBeforeIsSilentStill(t *testing.T) {
	d, e := surviving(t, nil)
	d.open()
	d.greeted().say("one\n")
	d.records(": one\n")
	time.Sleep(100 * time.Millisecond) // a silence
	d.leave()
	next := e.heir(nil)
	if heard := next.onlySession().past.heard; time.Since(heard) < 90*time.Millisecond {
		t.Errorf("last heard: got %v ago, want 100 ms or more", time.Since(heard))
	}
}

// TestASilenceThatWasTooLongIsOver when the next daemon comes, though the client has left half a line for it to look at.
func TestASilenceThatWasTooLongIsOver(t *testing.T) {
	d, e, silent := halfway(t, nil)
	e.silence = time.Hour
	d.leave()
	next := e.heir(idling(time.Hour))
	other := next.greeted()
	silent.hearEnd()
	next.records(" [timeout]: half\n", "close from "+silent.addr()+": idle, 2 records, 8 bytes\n")
	other.say("here\n") // a silence that began anew goes on
	next.records(other.addr() + ": here\n")
}

// TestAgeGoesOnWhileNobodyRuns: how long a session may last is counted from when it began, whoever served it then.
func TestAgeGoesOnWhileNobodyRuns(t *testing.T) {
	d, e, conn := halfway(t, nil)
	d.onlySession().slot.Open(time.Now().Add(-time.Hour))
	d.leave()
	next := e.heir(bounding(func(p *config.Policy) { p.MaxSession = time.Hour }))
	conn.hearEnd()
	next.records(" from "+conn.addr()+" [timeout]: half\n", "close from "+conn.addr()+": age, 2 records, 8 bytes\n")
}

// TestTheTimeOfAMessageGoesOnWhileNobodyRuns: it is counted from what came of it last before.
func TestTheTimeOfAMessageGoesOnWhileNobodyRuns(t *testing.T) {
	d, e, conn := halfway(t, nil)
	e.silence = time.Hour
	d.leave()
	next := e.heir(bounding(func(p *config.Policy) { p.MessageTimeout = time.Hour }))
	other := next.greeted()
	other.say("half")
	conn.hearEnd()
	next.records(" from "+conn.addr()+" [timeout]: half\n", "close from "+conn.addr()+": slow, 2 records, 8 bytes\n")
	other.say(" a line\n") // one that began anew goes on
	next.records(other.addr() + ": half a line\n")
}

// TestBytesCountOnWithTheNextDaemon: a session may send no more for having had two daemons.
func TestBytesCountOnWithTheNextDaemon(t *testing.T) {
	change := bounding(func(p *config.Policy) { p.MaxSessionBytes = int64(len("one\nhalf a line\n")) })
	d, e, conn := halfway(t, change)
	d.leave()
	next := e.heir(change)
	conn.say(" a line\ntoo much\n")
	next.records(": half a line\n", "close from "+conn.addr()+": volume, 2 records, 16 bytes\n")
}

// TestPlacesAreTakenOnWithTheNextDaemon: who was there counts, and gives the place back.
func TestPlacesAreTakenOnWithTheNextDaemon(t *testing.T) {
	change := func(c *config.Config) { c.Limits.Clients = 1 }
	d, e := surviving(t, change)
	d.open()
	conn := d.greeted()
	d.leave()
	next := e.heir(change)
	waiting := next.client()
	next.log.await(t, "as many clients as limits.clients allows")
	if n := next.srv.Clients(); n != 1 {
		t.Errorf("clients: got %d, want 1", n)
	}
	_ = conn.CloseWrite()
	conn.hearEnd()
	waiting.hear(next.banner)
}

// TestSourcesCountOnWithTheNextDaemon, whose limit was reached under the one before.
func TestSourcesCountOnWithTheNextDaemon(t *testing.T) {
	change := func(c *config.Config) { c.Limits.ClientsPerSource = 1 }
	d, e := surviving(t, change)
	d.open()
	conn := d.greeted()
	d.leave()
	next := e.heir(change)
	next.client().refused("")
	_ = conn.CloseWrite()
	conn.hearEnd()
	eventually(t, func() bool {
		_, err := io.ReadFull(next.client(), make([]byte, len(next.banner)))
		return err == nil
	}, func() { t.Error("got nobody let in, want one once the first has left") })
}

// TestSuspectsAreClosed: daemon after daemon has died over the same bytes.
func TestSuspectsAreClosed(t *testing.T) {
	d, e, conn := halfway(t, nil)
	for range maxCrashes {
		s := d.onlySession() // so long it is served
		d.leave()
		s.slot.SetBusy(true) // as if it had died
		d = e.heir(nil)
	}
	d.records("close from "+conn.addr(), ": suspect, 1 records, 4 bytes\n")
	d.awaitClients(0)
}

func TestProgressClearsASuspect(t *testing.T) {
	d, e := surviving(t, nil)
	d.open()
	conn := d.greeted()
	for i := range 2 * maxCrashes {
		conn.say(fmt.Sprintf("%d\n", i))
		d.records(fmt.Sprintf(": %d\n", i))
		d.kernelHolds(0)
		s := d.onlySession()
		d.leave()
		s.slot.SetBusy(true) // as if it had died
		d = e.heir(nil)
	}
	conn.say("last\n")
	d.records(": last\n")
}

// TestTheEndOfASessionIsHeardAtOnce although its connection still lies in the ring.
func TestTheEndOfASessionIsHeardAtOnce(t *testing.T) {
	d, e := surviving(t, nil)
	d.open()
	conn := d.greeted()
	other := d.greeted() // in the same message of the ring, so that this one stays
	if err := d.srv.survival.ring.EnlistAll(); err != nil {
		t.Fatal(err)
	}
	_ = conn.CloseWrite()
	if rest := conn.hearEnd(); rest != "" {
		t.Errorf("heard %q, want the end", rest)
	}
	d.awaitClients(1)
	d.leave()
	next := e.heir(nil)
	if n := next.srv.Clients(); n != 1 {
		t.Errorf("clients of the next: got %d, want the other alone", n)
	}
	other.say("on\n")
	next.records(other.addr() + ": on\n")
}

// fillRing leaves no room in a ring's queue.
func fillRing(t *testing.T, r *ring.Ring) {
	t.Helper()
	in, _ := r.Ends()
	err := error(nil)
	for err == nil {
		err = unix.Sendmsg(in, []byte{0}, nil, nil, unix.MSG_DONTWAIT)
	}
	if err != unix.EAGAIN {
		t.Fatal(err)
	}
}

// TestWhoFindsNoRoomIsDrained, and the others are served on meanwhile.
func TestWhoFindsNoRoomIsDrained(t *testing.T) {
	d, e := surviving(t, nil)
	d.open()
	stays := d.greeted()
	stays.say("stays\n")
	d.records(": stays\n")
	if err := d.srv.survival.ring.EnlistAll(); err != nil {
		t.Fatal(err)
	}
	goes := d.greeted()
	goes.say("goes\n")
	d.records(": goes\n")
	fillRing(t, d.srv.survival.ring)
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.leave()
	}()
	if rest := goes.hearEnd(); rest != "" { // half-closed
		t.Errorf("heard %q, want the end", rest)
	}
	stays.say("meanwhile\n")
	d.records(stays.addr() + ": meanwhile\n")
	goes.say("last\n")
	_ = goes.Close()
	<-done
	d.records(goes.addr()+": last\n", "close from "+goes.addr()+": eof, 2 records")
	d.log.await(t, "clients end with the daemon")
	next := e.heir(nil)
	stays.say("on\n")
	next.records(stays.addr() + ": on\n")
}

// TestAMessageIsAcknowledgedByItsBeginning, also when another daemon has recorded its first pieces, and however that one ended.
func TestAMessageIsAcknowledgedByItsBeginning(t *testing.T) {
	long := strings.Repeat("x", 10)
	for _, c := range []struct{ framing, first, pieces, end string }{
		{"line", "one\n", long, "end\n"},
		{"nul", "one\x00", long, "end\x00"},
		{"octet-counted", "3 one", "23 " + long, long + "end"},
		{"length-prefixed", "\x00\x00\x00\x03one", "\x00\x00\x00\x17" + long, long + "end"},
	} {
		t.Run(c.framing, func(t *testing.T) {
			change := func(cfg *config.Config) {
				l := &cfg.Listeners[0]
				l.Framing, l.MaxMessage, l.Ack = c.framing, 4, config.Text("{offset}\n")
			}
			d, e := surviving(t, change)
			d.open()
			conn := d.greeted()
			conn.say(c.first + c.pieces)
			conn.hear("0\n")
			d.records(" [cut]: xxxx\n")
			d.leave()
			e.heir(change)
			conn.say(c.end + c.first)
			_ = conn.CloseWrite()
			want := fmt.Sprintf("%d\n%d\n", len(c.first), len(c.first+c.pieces+c.end))
			if got := conn.hearEnd(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestWhatIsRecordedEndsWhereItDid: a daemon dies when its records reach up to an offset, which nobody but the file knows. What comes
// behind is recorded, and nothing before it again.
func TestWhatIsRecordedEndsWhereItDid(t *testing.T) {
	long := strings.Repeat("x", moveSize+1)
	for _, c := range []struct {
		name, framing string
		moved         string // out of the kernel by then
		say           string
		written       int64
		want          string
	}{
		{"a message", "line", "", "one\ntwo\n", 4, `"offset":4,"data":"two","end":"\u000a"}`},
		{"a chunk", "chunk", "", "onetwo", 3, `"offset":3,"data":"two"}`},
		{"a piece of a line", "line", "", "one\ntwo and more\n", 8, `"offset":8,"data":"and more","end":"\u000a","flag":"cut"}`},
		{"a piece of what was moved", "line", long, "y\n", moveSize, `"offset":16384,"data":"xy","end":"\u000a","flag":"cut"}`},
		{"a piece of octets", "octet-counted", "", "3 one14 twelve and six", 10, `"offset":10,"data":"elve and six","flag":"cut"}`},
		{"octets behind a line end", "octet-counted", "", "3 one\n3 two", 5, `"offset":5,"head":"\u000a3 ","data":"two"}`},
		{"the line end of octets", "octet-counted", "", "3 one\n", 6, `"records":1,"bytes":6}`},
		{"a piece behind a length", "length-prefixed", "", "\x00\x00\x00\x04half", 6, `"offset":6,"data":"lf","flag":"cut"}`},
		{"the last bytes", "line", "", "half", 4, `"records":1,"bytes":4}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			change := func(cfg *config.Config) {
				asJSON(cfg)
				cfg.Listeners[0].Framing = c.framing
			}
			d, e := surviving(t, change)
			d.open()
			conn := d.greeted()
			d.records(`"kind":"open"`)
			conn.say(c.moved)
			d.kernelHolds(0)
			slot := d.onlySession().slot
			d.leave()
			conn.say(c.say)
			_ = conn.CloseWrite()
			slot.Mark(state.Written{Offset: c.written, Records: 1}, 1)
			next := e.heir(change)
			got := next.records(c.want, `"kind":"close"`, fmt.Sprintf(`"bytes":%d}`, len(c.moved+c.say)))
			if n := strings.Count(got, `"kind":"message"`); n > 1 {
				t.Errorf("got %q, want nothing before offset %d", got, c.written)
			}
		})
	}
}
