package handover_test

import (
	"fmt"
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/state"
	"tcpmux/daemon/systemd"
)

// moveSize is how much of a message waits in its socket; a longer beginning is moved.
const moveSize = 16 << 10

// TestALongMessageGoesOnWithTheNextDaemon, though its beginning is out of the kernel.
func TestALongMessageGoesOnWithTheNextDaemon(t *testing.T) {
	d, st := surviving(t, asJSON)
	d.Open()
	conn := d.Greeted()
	long := strings.Repeat("x", moveSize+1)
	conn.Say("one\n" + long)
	d.kernelHolds(0)
	for range 2 {
		d.leave()
		d = st.next(asJSON)
		conn.Say(long)
		d.kernelHolds(0)
	}
	conn.Say("end\nnext\n")
	next := fmt.Sprint(4 + 3*len(long) + 4)
	d.AwaitRecords(`"offset":4,"data":"`+strings.Repeat(long, 3)+`end"`, `"offset":`+next+`,"data":"next"`)
}

// TestWhatACrashWouldLoseIsKept, before it can come: what is out of the kernel and not recorded,
// and what the framing has to know.
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
			d.Open()
			conn := d.Greeted()
			said := 0
			for _, text := range c.say {
				d.kernelHolds(0)
				conn.Say(text)
				said += len(text)
			}
			slot := d.session().Slot
			servertest.Eventually(t, func() bool { return slot.Tally() == c.tally }, func() { t.Errorf("tally: got %+v, want %+v", slot.Tally(), c.tally) })
			d.kernelHolds(said - int(c.tally.Offset) - len(c.shelved))
			taken := c.tally.Offset + int64(len(c.shelved))
			if got, base := slot.Shelf(taken); string(got) != c.shelved || len(got) > 0 && base != c.tally.Offset {
				t.Errorf("shelf: got %d bytes from %d, want %d from %d", len(got), base, len(c.shelved), c.tally.Offset)
			}
		})
	}
}

// TestALongMessageIsInPiecesWhenItsDaemonLeaves: what is out of the kernel, and on no shelf,
// would be lost otherwise.
func TestALongMessageIsInPiecesWhenItsDaemonLeaves(t *testing.T) {
	_, st := surviving(t, nil)
	st.lose(systemd.StateName, systemd.JournalName)
	d := st.next(nil)
	conn := d.Greeted()
	long := strings.Repeat("x", moveSize+1)
	conn.Say(long)
	d.kernelHolds(0)
	d.leave()
	d.AwaitRecords(" [cut]: " + long + "\n")
	next := st.next(nil)
	conn.Say("rest\nnext\n")
	next.AwaitRecords(": rest\n", ": next\n") // that it is one too, only the state knows
}
