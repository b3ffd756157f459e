package conn

import (
	"errors"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// clockSet returns a moment of the monotonic clock as it shows in a time.Time after somebody has
// set the clock by that much.
func clockSet(t time.Time, by time.Duration) time.Time {
	// The lowest bit of the seconds in Time.wall (package time).
	const secondsAt = 30
	// Wall is its first field.
	*(*uint64)(unsafe.Pointer(&t)) += uint64(by/time.Second) << secondsAt
	return t
}

// TestAThreadsDeadlineIsNoMatterOfTheClock that somebody sets.
func TestAThreadsDeadlineIsNoMatterOfTheClock(t *testing.T) {
	now := time.Now()
	if got := clockSet(now, time.Hour); got.Sub(now) != 0 || got.Round(0).Sub(now.Round(0)) != time.Hour {
		t.Fatalf("got %v apart by the monotonic clock and %v by the other, want 0 and an hour",
			got.Sub(now), got.Round(0).Sub(now.Round(0)))
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
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(pair[1])
			var w Wakeup
			conn := NewThread(pair[0], &w)
			defer conn.Close()
			conn.SetWriteDeadline(c.deadline)
			// There is room for what is written.
			if err := conn.block(unix.POLLOUT, &conn.writeBy, expired); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}
