package admission

import (
	"hash/maphash"
	"time"
)

const (
	// paceSets and paceWays bound the table of paces: 131,072 sources in 2 MiB.
	paceSets = 1 << 14
	paceWays = 8
)

// paces remember how fast the clients of each source come. Each source has a token bucket, stored
// as the time at which it will be full again (the generic cell rate algorithm of ATM, ITU-T I.371).
// A full bucket need not be stored, so time makes room. If there is no room, the bucket that is
// nearest to full is forgotten: a flood of random addresses relaxes the limit only for sources that
// have hardly connected.
type paces struct {
	sets    [][paceWays]pace // nil until one is needed
	seed    maphash.Seed     // keeps clients from choosing their set
	since   time.Time
	between time.Duration // between two clients at the full rate
	burst   time.Duration // how far ahead of that a source may be
}

// pace is the bucket of one source. The hash identifies the source. full is when the bucket is
// full, counted from paces.since. The zero value is no source.
type pace struct {
	hash uint64
	full time.Duration
}

func newPaces(r Rate) paces {
	if r.Count == 0 {
		return paces{}
	}
	step := r.Per / time.Duration(r.Count)
	return paces{
		sets:    make([][paceWays]pace, paceSets),
		seed:    maphash.MakeSeed(),
		since:   time.Now(),
		between: step,
		burst:   r.Per - step,
	}
}

// step reports whether a client of a source may come now, and counts it if so.
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
