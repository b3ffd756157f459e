package daemon

import (
	"errors"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// clockSet is a moment of the monotonic clock as it shows in a time.Time after somebody has set the clock by so much.
func clockSet(t time.Time, by time.Duration) time.Time {
	const secondsAt = 30                                                  // of Time.wall (package time), where the lowest bit of the seconds is
	*(*uint64)(unsafe.Pointer(&t)) += uint64(by/time.Second) << secondsAt // wall is its first field
	return t
}

// TestAThreadsDeadlineIsNoMatterOfTheClock that somebody sets.
func TestAThreadsDeadlineIsNoMatterOfTheClock(t *testing.T) {
	now := time.Now()
	if got := clockSet(now, time.Hour); got.Sub(now) != 0 || got.Round(0).Sub(now.Round(0)) != time.Hour {
		t.Fatalf("got %v apart by the monotonic clock and %v by the other, want 0 and an hour", got.Sub(now), got.Round(0).Sub(now.Round(0)))
	}
	for _, c := range []struct {
		name     string
		deadline time.Time
		want     error
	}{
		{"none", time.Time{}, nil},
		{"to come", now.Add(time.Hour), nil},
		{"passed", now.Add(-time.Second), os.ErrDeadlineExceeded},
		{"to come, the clock set forward", clockSet(now.Add(time.Hour), -2*time.Hour), nil},
		{"passed, the clock set back", clockSet(now.Add(-time.Second), 2*time.Hour), os.ErrDeadlineExceeded},
		{"at the very beginning", loaded, os.ErrDeadlineExceeded},
		{"long ago", longAgo, os.ErrDeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bell{}
			if err := b.hang(); err != nil {
				t.Fatal(err)
			}
			_, fd := tcpPair(t)
			conn := newThreaded(fd, b)
			defer conn.close()
			conn.setWriteDeadline(c.deadline)
			if err := conn.wait(unix.POLLOUT, &conn.writeBy); !errors.Is(err, c.want) { // there is room for what is written
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestASessionsAgeIsNoMatterOfTheClock either, of one that goes on with the next daemon.
func TestASessionsAgeIsNoMatterOfTheClock(t *testing.T) {
	for _, c := range []struct {
		name      string
		opened    time.Duration // from now, as the clock shows it to the next daemon
		from, end time.Duration // what its age may be
	}{
		{"an hour ago", -time.Hour, time.Hour, 2 * time.Hour},
		{"to come, the clock was set back", time.Hour, 0, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, e, _ := halfway(t, nil)
			d.onlySession().slot.Open(time.Now().Add(c.opened))
			d.leave()
			opened := e.heir(nil).onlySession().opened
			if age := time.Since(opened); age < c.from || age >= c.end {
				t.Errorf("age: got %v, want it from %v to %v", age, c.from, c.end)
			}
			if opened == opened.Round(0) {
				t.Errorf("got %v, want a moment of the monotonic clock", opened)
			}
		})
	}
}
