package admission

import (
	"hash/maphash"
	"time"
)

const (
	// paceSets and paceWays bound what is remembered of how fast sources come: 131,072 sources in 2 MiB.
	paceSets = 1 << 14
	paceWays = 8
)

// paces remember how fast sources come: a token bucket each, as the moment when it will be full again (the generic cell rate
// algorithm of ATM, ITU-T I.371). A bucket that is full need not be remembered, so age makes room by itself. When more sources
// than there is room for are not full, the one that is nearest to it is forgotten: a flood of random addresses makes the limit
// milder for those who have hardly come, and for nobody else.
type paces struct {
	sets    [][paceWays]pace // nil until one is needed
	seed    maphash.Seed     // so that nobody can aim at a set
	since   time.Time
	between time.Duration // between two clients at the full rate
	burst   time.Duration // how far ahead of that a source may be
}

// pace is one source: its hash, which is its name, and when its bucket is full, counted from since; all zero: none.
type pace struct {
	hash uint64
	full time.Duration
}

func newPaces(r Rate) paces {
	if r.Count == 0 {
		return paces{}
	}
	step := r.Per / time.Duration(r.Count)
	return paces{sets: make([][paceWays]pace, paceSets), seed: maphash.MakeSeed(), since: time.Now(), between: step, burst: r.Per - step}
}

// step says whether a client of a source may come now, and if so takes it into account.
func (p *paces) step(key source, now time.Time) bool {
	at := now.Sub(p.since)
	hash := maphash.Bytes(p.seed, key[:])
	set := &p.sets[hash%paceSets]
	least := &set[0]
	for i := range set {
		s := &set[i]
		if s.hash == hash {
			least = s
			break
		}
		if s.full < least.full {
			least = s
		}
	}
	full := at
	if least.hash == hash {
		full = max(at, least.full)
	}
	if full-at > p.burst {
		return false
	}
	*least = pace{hash, full + p.between}
	return true
}
