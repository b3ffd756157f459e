package forward

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestRateIsThatOfTheLastTenSeconds(t *testing.T) {
	var r rate
	now := time.Unix(1_000_000, 0)
	for range 30 {
		r.add(now, 300)
		r.add(now, 200)
		now = now.Add(time.Second)
	}
	if got := r.of(now); got != 500 {
		t.Errorf("got %v, want 500", got)
	}
	if got := r.of(now.Add(5 * time.Second)); got != 250 {
		t.Errorf("5 s later: got %v, want 250", got)
	}
	if got := r.of(now.Add(time.Minute)); got != 0 {
		t.Errorf("a minute later: got %v, want 0", got)
	}
}

func TestPaceHoldsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		begin, fed := time.Now(), 0
		for range 21 {
			if err := p.wait(t.Context(), 100, 50, func() { fed++ }); err != nil {
				t.Fatal(err)
			}
		}
		if got := time.Since(begin); got != 10*time.Second {
			t.Errorf("got %v for 1,050 records at 100/s, want 10s", got)
		}
		if fed == 0 {
			t.Error("the watchdog was not fed meanwhile")
		}
	})
}

func TestTheWatchdogIsFedInTime(t *testing.T) {
	now, sent := time.Unix(0, 0), 0
	w := watchdog{every: 15 * time.Second, now: func() time.Time { return now }, send: func() { sent++ }}
	w.feed()
	for range 600 {
		now = now.Add(100 * time.Millisecond)
		w.feed()
	}
	if sent != 5 {
		t.Errorf("got %d messages in a minute, want 5", sent)
	}
	w = watchdog{now: func() time.Time { return now }, send: func() { t.Error("got a message without a watchdog") }}
	w.feed()
}

func TestLinesAreLimited(t *testing.T) {
	var l limiter
	now, passed := time.Unix(0, 0), 0
	for range 1200 {
		if l.allow(now) {
			passed++
		}
		now = now.Add(100 * time.Millisecond)
	}
	if passed != 2*mostLines {
		t.Errorf("got %d lines in two minutes, want %d", passed, 2*mostLines)
	}
}
