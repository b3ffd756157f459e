package forward

import "time"

// rate counts records by seconds.
type rate struct {
	seconds [rateSeconds]int64 // Unix
	counts  [rateSeconds]int64
}

const rateSeconds = 11 // ten that are over, and the current one

func (r *rate) add(now time.Time, n int) {
	s := now.Unix()
	i := (s%rateSeconds + rateSeconds) % rateSeconds // s is negative before 1970
	if r.seconds[i] != s {
		r.seconds[i], r.counts[i] = s, 0
	}
	r.counts[i] += int64(n)
}

// of returns the mean of the last ten seconds.
func (r *rate) of(now time.Time) float64 {
	var n int64
	for i, s := range r.seconds {
		if age := now.Unix() - s; 0 < age && age < rateSeconds {
			n += r.counts[i]
		}
	}
	return float64(n) / (rateSeconds - 1)
}

// limiter lets a number of lines pass a minute.
type limiter struct {
	since time.Time
	n     int
}

func (l *limiter) allow(now time.Time) bool {
	if now.Sub(l.since) >= time.Minute {
		l.since, l.n = now, 0
	}
	l.n++
	return l.n <= mostLines
}
