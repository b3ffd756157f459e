package stream

import (
	"fmt"
	"testing"

	"tcpmux/cmd/tcpmux-forward/spool"
	"tcpmux/daemon/delivery"
)

// TestCursorsStayReadable also in the middle of a batch, where a file comes to as many as there may
// be.
func TestCursorsStayReadable(t *testing.T) {
	var full delivery.Cursor
	for i := range delivery.MaxPositions {
		full = append(full, delivery.Position{Key: delivery.Key(fmt.Sprintf("%08x", i)), Mark: fileB.mark, Offset: 1})
	}
	c := &Conn{known: known{cursor: full}}
	records := []spool.Record{fileA.record(0), fileA.record(1)}
	c.adopt(&spool.Batch{Records: records, Cursor: append(delivery.Cursor{records[1].End}, full[:len(full)-1]...)})
	got, _, err := delivery.ParseCursor(string(c.standingAt(records[:1], nil).AppendTo(nil)))
	if err != nil || fileA.at(got) != 1 || len(got) != delivery.MaxPositions {
		t.Errorf("got %d positions, %v, want %d", len(got), err, delivery.MaxPositions)
	}
}
