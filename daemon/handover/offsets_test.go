package handover_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/state"
)

// TestWhatADaemonHasTakenTheNextWrites, once, as text too: its session goes on behind it.
func TestWhatADaemonHasTakenTheNextWrites(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*servertest.Client)
		want []string
	}{
		{"its opening", nil, []string{": eof, 0 records, 0 bytes\n"}},
		{"messages", func(c *servertest.Client) { c.Say("one\ntwo\nhalf") }, []string{": one\n", ": two\n", " [eof]: half\n", ": eof, 3 records, 12 bytes\n"}},
		{"its end", func(c *servertest.Client) { _ = c.CloseWrite() }, []string{": eof, 0 records, 0 bytes\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, st := surviving(t, nil)
			d.Open()
			var conn *servertest.Client
			if c.end != nil {
				conn = d.Greeted()
				d.AwaitRecords(" open from ")
			}
			d.stuck(func() {
				if c.end == nil {
					conn = d.Greeted()
				} else {
					c.end(conn)
				}
			})
			st.fault = servertest.ErrDisk
			// That this one is stuck as well changes nothing.
			st.next(nil).stuck(func() {})
			st.fault = nil
			next := st.next(nil)
			_ = conn.CloseWrite()
			next.AwaitRecords(c.want...)
			next.AwaitClients(0)
			conn.HearEnd()
			got := d.Out.String() + next.Out.String()
			if n := strings.Count(got, "\n"); n != len(c.want)+1 {
				t.Errorf("got %d records %q, want %d: the opening and %q", n, got, len(c.want)+1, c.want)
			}
		})
	}
}

// TestWhatTheDaemonBeforeHasRecordedIsCountedByTheNext too, with what the framing has to know
// there: it may die as well.
func TestWhatTheDaemonBeforeHasRecordedIsCountedByTheNext(t *testing.T) {
	d, st := unjournaled(t, asJSON)
	conn := d.sendHalf()
	s := d.session()
	d.leave()
	// A piece, as memory was short.
	s.Slot.Mark(state.Written{Offset: int64(len("one\nha")), Records: 2, Opened: true}, 1)
	next := st.next(asJSON)
	slot, want := next.session().Slot, state.Tally{Offset: int64(len("one\nha")), Records: 2, Framing: 1}
	servertest.Eventually(t, func() bool { return slot.Tally() == want }, func() { t.Errorf("tally: got %+v, want %+v", slot.Tally(), want) })
	next.leave()
	last := st.next(asJSON)
	conn.Say("\n")
	last.AwaitRecords(`"offset":6,"data":"lf","end":"\u000a","flag":"cut"}`)
}

// TestASessionIsMarkedBeforeItsRecordsAreWritten with all that the next daemon has to know of
// them.
func TestASessionIsMarkedBeforeItsRecordsAreWritten(t *testing.T) {
	var d *daemon
	var mu sync.Mutex
	var got []state.Written
	d, _ = surviving(t, nil, watchSink(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, s := range d.sessions.all() {
			if w := s.Slot.Written(); len(got) == 0 || got[len(got)-1] != w {
				got = append(got, w)
			}
		}
	}))
	d.Open()
	c := d.Greeted()
	d.AwaitRecords(" open from ")
	c.Say("one\n")
	d.AwaitRecords(": one\n")
	_ = c.CloseWrite()
	d.AwaitRecords(" close from ")
	d.AwaitClients(0)
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

// TestNothingIsRecordedTwice: the first daemon has written one message and dies before it has
// taken anything from the socket.
func TestNothingIsRecordedTwice(t *testing.T) {
	d, st := unjournaled(t, asJSON)
	d.Open()
	conn := d.Greeted()
	d.AwaitRecords(`"kind":"open"`)
	slot := d.session().Slot
	d.stuck(func() { conn.Say("one\ntwo\nhalf") })
	slot.Mark(state.Written{Offset: int64(len("one\n")), Records: 1}, 1)
	next := st.next(asJSON)
	conn.Say("\n")
	_ = conn.CloseWrite()
	got := next.AwaitRecords(`"offset":4,"data":"two"`, `"offset":8,"data":"half"`, `"records":3,"bytes":13`)
	if strings.Contains(got, `"one"`) {
		t.Errorf("got %q, want no message that the first daemon has written", got)
	}
}

// TestWhatIsRecordedIsTaken though the daemon was killed before it had taken it from its socket:
// nothing is recorded twice, as text neither.
func TestWhatIsRecordedIsTaken(t *testing.T) {
	d, st, conn := halfway(t, nil)
	s := d.session()
	d.leave()
	conn.Say(" a line\nnext\nlast\n")
	s.Slot.Count(state.Tally{Offset: 16, Records: 2}) // as if half a line had been recorded
	next := st.next(nil)
	_ = conn.CloseWrite()
	got := next.AwaitRecords(": next\n", ": last\n", ": eof, 4 records, 26 bytes\n")
	if strings.Contains(got, "a line") {
		t.Errorf("got %q, want no message that was recorded before", got)
	}
}

// TestWhatIsRecordedEndsWhereItDid: a daemon dies when its records reach up to an offset, which
// nobody but the file knows. What comes behind is recorded, and nothing before it again.
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
		{"a delimiter that may go on", "delimited", "", "one\r\ntwo\r", 4, `"offset":4,"head":"\u000a","data":"two","end":"\u000d"}`},
		{"the end of a delimiter", "delimited", "", "one\r\n", 4, `"offset":4,"head":"\u000a","data":"","flag":"between"}`},
		{"a piece behind a start", "delimited (", "", "(one)(two and more)", 8, `"offset":8,"data":"o and more","end":")","flag":"cut"}`},
		{"noise in front of a start", "delimited (", "", "(one)\r\n(two)", 5, `"offset":5,"head":"\u000d\u000a(","data":"two","end":")"}`},
		{"a piece of a fixed size", "fixed", "", "onetwo", 4, `"offset":4,"data":"wo","flag":"cut"}`},
		{"what silence ended", "silence", "", "onetwo", 3, `"offset":3,"data":"two"}`},
		{"the last bytes", "line", "", "half", 4, `"records":1,"bytes":4}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			change := func(cfg *config.Config) {
				asJSON(cfg)
				setFraming(&cfg.Listeners[0], c.framing)
			}
			d, st := unjournaled(t, change)
			d.Open()
			conn := d.Greeted()
			d.AwaitRecords(`"kind":"open"`)
			conn.Say(c.moved)
			d.kernelHolds(0)
			slot := d.session().Slot
			d.leave()
			conn.Say(c.say)
			_ = conn.CloseWrite()
			slot.Mark(state.Written{Offset: c.written, Records: 1}, 1)
			next := st.next(change)
			got := next.AwaitRecords(c.want, `"kind":"close"`, fmt.Sprintf(`"bytes":%d}`, len(c.moved+c.say)))
			if n := strings.Count(got, `"kind":"message"`); n > 1 {
				t.Errorf("got %q, want nothing before offset %d", got, c.written)
			}
		})
	}
}

// setFraming sets a framing, and its keys to what the tests send.
func setFraming(l *config.Listener, name string) {
	l.Framing, l.MessageSize, l.Silence = name, 6, time.Hour
	l.Delimiter = []config.Bytes{config.Text("\r\n"), config.Text("\n"), config.Text("\r")}
	if name == "delimited (" {
		l.Framing, l.Start, l.Delimiter = "delimited", config.Text("("), []config.Bytes{config.Text(")")}
	}
}

// TestAMessageIsAcknowledgedByItsBeginning, also when another daemon has recorded its first
// pieces, and however that one ended.
func TestAMessageIsAcknowledgedByItsBeginning(t *testing.T) {
	long := strings.Repeat("x", 10)
	for _, c := range []struct{ framing, first, pieces, end string }{
		{"line", "one\n", long, "end\n"},
		{"nul", "one\x00", long, "end\x00"},
		{"octet-counted", "3 one", "23 " + long, long + "end"},
		{"length-prefixed", "\x00\x00\x00\x03one", "\x00\x00\x00\x17" + long, long + "end"},
		{"delimited", "one\r", "\n" + long, "end\r"},
		{"delimited (", "(one)", "noise(" + long, "end)"},
		{"fixed", "onetwo", "xxxxx", "x"},
	} {
		t.Run(c.framing, func(t *testing.T) {
			change := func(cfg *config.Config) {
				l := &cfg.Listeners[0]
				setFraming(l, c.framing)
				l.MaxMessage, l.Ack = 4, config.Text("{offset}\n")
			}
			d, st := surviving(t, change)
			d.Open()
			conn := d.Greeted()
			conn.Say(c.first + c.pieces)
			conn.Hear("0\n")
			d.AwaitRecords(" [cut]: xxxx\n")
			d.leave()
			st.next(change)
			conn.Say(c.end + c.first)
			_ = conn.CloseWrite()
			want := fmt.Sprintf("%d\n%d\n", len(c.first), len(c.first+c.pieces+c.end))
			if got := conn.HearEnd(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
