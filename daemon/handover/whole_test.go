package handover

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/state"
)

// TestWhatCannotBeReadIsNotWhole: without it the stream would go on behind a gap.
func TestWhatCannotBeReadIsNotWhole(t *testing.T) {
	f, err := state.New(1)
	pairs, perr := state.NewPairs(1)
	if err := errors.Join(err, perr); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	defer pairs.Close()
	slot, entry := f.Take(1), pairs.Take(1, state.Client)
	if !shelve(slot, 10, []byte("moved")) {
		t.Fatal("cannot be kept")
	}
	left := func(moved int) *state.PairEntry {
		entry.Leave(state.Half{Mate: 2, Moved: moved})
		return entry
	}
	for moved, want := range map[int]bool{5: true, 4: false, 6: false, 0: false} {
		if got := whole(slot, left(moved)); got != want {
			t.Errorf("%d bytes of 5: got %v, want %v", moved, got, want)
		}
	}
	const length = 1 << 30     // more than a shelf has
	const shelved = 4096 + 128 // the length in the first slot (package state)
	if _, err := unix.Pwrite(f.FD(), binary.NativeEndian.AppendUint64(nil, length), shelved); err != nil {
		t.Fatal(err)
	}
	if got := slot.Behind(10); got != length {
		t.Fatalf("got %d bytes, want %d: the length is elsewhere", got, length)
	}
	if whole(slot, left(length)) {
		t.Error("got that it is whole, want that it is not")
	}
	if whole(nil, left(5)) {
		t.Error("without a slot: got that it is whole")
	}
}
