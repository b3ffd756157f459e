package stream

import (
	"testing"

	"tcpmux/cmd/tcpmux-forward/natstest"
)

// TestSubjectsAreChanged: the messages of a machine under its former name say where the delivery
// stands, as long as they are the newer ones.
func TestSubjectsAreChanged(t *testing.T) {
	each(t, natstest.Options{}, func(t *testing.T, _ mode, s *natstest.Server) {
		before := options(s)
		first := batchOf(0, 30, nil, fileA)
		c := connected(t, before)
		lastOf(t, c)
		publish(t, c, first)

		after := options(s)
		after.Host, after.Former = "case", Filter(before.Forward, before.Host)
		c = connected(t, after)
		if last := lastOf(t, c); !last.Found || fileA.at(last.Cursor) != 30 || last.Sequence != 30 {
			t.Errorf("got %+v, want what the former subjects say", last)
		}
		second := batchOf(30, 30, first.Cursor, fileA)
		publish(t, c, second)
		// The state of the machine may not have been saved.
		if last := lastOf(t, connected(t, after)); fileA.at(last.Cursor) != 60 || last.Sequence != 60 {
			t.Errorf("got %+v, want what the new subjects say", last)
		}

		back := options(s)
		back.Former = Filter(after.Forward, after.Host)
		c = connected(t, back)
		if last := lastOf(t, c); fileA.at(last.Cursor) != 60 || last.Sequence != 60 {
			t.Errorf("back again: got %+v, want what is newer", last)
		}
		publish(t, c, batchOf(60, 30, second.Cursor, fileA))
		if last := lastOf(t, connected(t, back)); fileA.at(last.Cursor) != 90 || last.Sequence != 90 {
			t.Errorf("back again: got %+v, want all 90", last)
		}
	})
}
