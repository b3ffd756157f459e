package ring

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crowded returns a ring with so many full messages, and an entry in the newest that was retired
// long before the returned time: to be rid of it takes all messages once more.
func crowded(t *testing.T, messages int) (r *Ring, now time.Time) {
	t.Helper()
	r = newRing(t, time.Hour)
	t.Cleanup(r.Close)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	all := make([]Entry, messages*perMessage)
	for i := range all {
		r.Add(&all[i], fd, time.Now())
	}
	if err := r.EnlistAll(); err != nil {
		t.Fatal(err)
	}
	r.Retire(&all[len(all)-1])
	return r, time.Now().Add(retiredAge + time.Minute)
}

// TestOthersDoNotWaitForTheWholeQueue: clients that come and go need the ring while all of a long
// queue is sent once more.
func TestOthersDoNotWaitForTheWholeQueue(t *testing.T) {
	r, now := crowded(t, 8)
	free, sent, early := make(chan struct{}), 0, false
	r.sendmsg = func(fd int, oob []byte) error {
		if sent++; sent == 1 {
			go func() {
				r.Live()
				close(free)
			}()
		} else if sent <= 6 && !early { // who waits for a lock for a millisecond has it next
			select {
			case <-free:
				early = true
			case <-time.After(time.Millisecond << (2 * sent)):
			}
		}
		return sendRights(fd, oob)
	}
	if err := r.Maintain(now); err != nil {
		t.Fatal(err)
	}
	if !early || sent < 8 {
		t.Errorf("got the lock while all was sent once more: %v, after %d messages, want true and 8 or more", early, sent)
	}
}

// TestNothingIsSentOnceTheRingIsSealed: also where that is while all of a queue is sent once more.
func TestNothingIsSentOnceTheRingIsSealed(t *testing.T) {
	r, now := crowded(t, 8)
	sealed, sent := make(chan struct{}), 0
	r.sendmsg = func(fd int, oob []byte) error {
		if sent++; sent == 1 {
			go func() {
				if err := r.Seal(); err != nil {
					t.Error(err)
				}
				close(sealed)
			}()
		} else {
			select {
			case <-sealed:
				t.Error("something is sent once the ring is sealed")
			case <-time.After(2 * time.Millisecond): // who waits for a lock for a millisecond has it next
			}
		}
		return sendRights(fd, oob)
	}
	if err := r.Maintain(now); err != nil {
		t.Fatal(err)
	}
	<-sealed
}

// TestOverdueCountsNoYoungConnections, and none at all while there is room.
func TestOverdueCountsNoYoungConnections(t *testing.T) {
	r := newRing(t, time.Hour)
	defer r.Close()
	var all [7]Entry
	for i := range all {
		age := 2 * time.Hour
		if i >= 4 {
			age = time.Minute
		}
		r.Add(&all[i], 0, time.Now().Add(-age))
	}
	if got := r.Overdue(); got != 0 {
		t.Errorf("got %d overdue, want 0: there is room", got)
	}
	r.sendmsg = func(int, []byte) error { return unix.EAGAIN }
	if err := r.Maintain(time.Now()); err == nil {
		t.Error("got no error, want that there is no room")
	}
	for retired, want := range []int{4, 3, 2} {
		if got := r.Overdue(); got != want {
			t.Errorf("got %d overdue, want %d", got, want)
		}
		r.Retire(&all[retired])
	}
}
